#include "agent/restore/owner.h"

#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>

#define NAMES_KEPT 64

struct name {
    char text[64];
    long id; /* -1: this host has no such name */
};

struct names {
    struct name kept[NAMES_KEPT];
    size_t count, next;
};

struct hf_owners {
    struct names users, groups;
};

struct hf_owners *owners_new(void)
{
    return calloc(1, sizeof(struct hf_owners));
}

void owners_free(struct hf_owners *owners)
{
    free(owners);
}

static long ask_user(const char *name)
{
    struct passwd entry, *found = NULL;
    char buffer[16384];
    return !getpwnam_r(name, &entry, buffer, sizeof(buffer), &found) && found ? (long)found->pw_uid
                                                                              : -1;
}

static long ask_group(const char *name)
{
    struct group entry, *found = NULL;
    char buffer[16384];
    return !getgrnam_r(name, &entry, buffer, sizeof(buffer), &found) && found ? (long)found->gr_gid
                                                                              : -1;
}

static long resolve(struct names *names, struct hf_bytes name, long (*ask)(const char *name))
{
    if (name.size == 0 || name.size >= sizeof(names->kept[0].text) ||
        memchr(name.data, '\0', name.size))
        return -1;
    for (size_t i = 0; i < names->count; i++)
        if (!strncmp(names->kept[i].text, (const char *)name.data, name.size) &&
            !names->kept[i].text[name.size])
            return names->kept[i].id;
    struct name *slot = &names->kept[names->next];
    names->next = (names->next + 1) % NAMES_KEPT;
    if (names->count < NAMES_KEPT)
        names->count++;
    memcpy(slot->text, name.data, name.size);
    slot->text[name.size] = '\0';
    slot->id = ask(slot->text);
    return slot->id;
}

void owners_resolve(struct hf_owners *owners, const struct hf_version *version, uid_t *uid,
                    gid_t *gid)
{
    long user = resolve(&owners->users, version->owner, ask_user);
    long group = resolve(&owners->groups, version->group, ask_group);
    *uid = user >= 0 ? (uid_t)user : version->uid;
    *gid = group >= 0 ? (gid_t)group : version->gid;
}
