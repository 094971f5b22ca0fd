#include "agent/restore/links.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/restore/stage.h"
#include "common/bytes.h"
#include "common/hash.h"

#define BUCKETS_MIN 1024u

/* Versions that are names of one file. */
struct group {
    size_t next; /* in its bucket; SIZE_MAX for none */
    uint8_t key[HF_HASH_BYTES];
    bool is_made; /* one of them is staged: */
    uint64_t made;
    char *made_path; /* in the tree, where it will be; NULL: not in the tree */
    size_t anchor;
    char *there; /* one of them is on this host, beneath the anchor, as: */
    dev_t dev;
    ino_t ino;
};

struct member {
    size_t group;
    uint64_t index;
    char *path; /* as made_path */
    bool there; /* on this host, as: */
    dev_t dev;
    ino_t ino;
};

struct hf_links {
    struct group *groups;
    size_t group_count, group_capacity;
    struct hf_hash *hash;
    size_t *buckets; /* of groups, by key */
    size_t bucket_count;
    struct member *members; /* all but those that are made */
    size_t member_count, member_capacity;
};

struct hf_links *links_new(void)
{
    struct hf_links *links = calloc(1, sizeof(*links));
    if (links && !(links->hash = hf_hash_new())) {
        free(links);
        return NULL;
    }
    return links;
}

void links_free(struct hf_links *links)
{
    if (!links)
        return;
    for (size_t i = 0; i < links->group_count; i++) {
        free(links->groups[i].there);
        free(links->groups[i].made_path);
    }
    for (size_t i = 0; i < links->member_count; i++)
        free(links->members[i].path);
    hf_hash_free(links->hash);
    free(links->groups);
    free(links->buckets);
    free(links->members);
    free(links);
}

static void add_number(struct hf_hash *hash, uint64_t number)
{
    uint8_t bytes[8];
    hf_put_le64(bytes, number);
    hf_hash_update(hash, bytes, sizeof(bytes));
}

static void add_bytes(struct hf_hash *hash, struct hf_bytes bytes)
{
    add_number(hash, bytes.size);
    hf_hash_update(hash, bytes.data, bytes.size);
}

/* What names of one file have in common. Two files that once had the same number, and differ, are
 * two files. */
static void key_of(struct hf_hash *hash, const struct hf_version *version, size_t anchor,
                   uint8_t key[HF_HASH_BYTES])
{
    const uint64_t numbers[] = {
        version->link, anchor,       version->type, version->mode,
        version->uid,  version->gid, version->size, (uint64_t)version->mtime_ns,
        version->depth};
    hf_hash_reset(hash);
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
        add_number(hash, numbers[i]);
    add_bytes(hash, version->refs);
    add_bytes(hash, version->target);
    add_bytes(hash, version->xattrs);
    hf_hash_final(hash, key);
}

static size_t *bucket_of(const struct hf_links *links, const uint8_t *key)
{
    return &links->buckets[hf_get_le64(key) % links->bucket_count];
}

static int more_buckets(struct hf_links *links)
{
    size_t count = links->bucket_count > 0 ? 2 * links->bucket_count : BUCKETS_MIN;
    size_t *buckets = malloc(count * sizeof(*buckets));
    if (!buckets)
        return HF_ERR_NO_MEMORY;
    free(links->buckets);
    links->buckets = buckets;
    links->bucket_count = count;
    for (size_t i = 0; i < count; i++)
        buckets[i] = SIZE_MAX;
    for (size_t i = 0; i < links->group_count; i++) {
        size_t *bucket = bucket_of(links, links->groups[i].key);
        links->groups[i].next = *bucket;
        *bucket = i;
    }
    return 0;
}

static int find_group(struct hf_links *links, const struct hf_version *version, size_t anchor,
                      size_t *out)
{
    uint8_t key[HF_HASH_BYTES];
    key_of(links->hash, version, anchor, key);
    if (links->group_count >= links->bucket_count && more_buckets(links))
        return HF_ERR_NO_MEMORY;
    for (*out = *bucket_of(links, key); *out != SIZE_MAX; *out = links->groups[*out].next)
        if (!memcmp(links->groups[*out].key, key, HF_HASH_BYTES))
            return 0;
    if (links->group_count == links->group_capacity) {
        size_t capacity = links->group_capacity > 0 ? 2 * links->group_capacity : 64;
        struct group *grown = realloc(links->groups, capacity * sizeof(*grown));
        if (!grown)
            return HF_ERR_NO_MEMORY;
        links->groups = grown;
        links->group_capacity = capacity;
    }
    size_t *bucket = bucket_of(links, key);
    struct group *group = &links->groups[links->group_count];
    *group = (struct group){.next = *bucket, .anchor = anchor};
    memcpy(group->key, key, HF_HASH_BYTES);
    *bucket = *out = links->group_count++;
    return 0;
}

static int add_member(struct hf_links *links, const struct member *member)
{
    if (links->member_count == links->member_capacity) {
        size_t capacity = links->member_capacity > 0 ? 2 * links->member_capacity : 64;
        struct member *grown = realloc(links->members, capacity * sizeof(*grown));
        if (!grown)
            return HF_ERR_NO_MEMORY;
        links->members = grown;
        links->member_capacity = capacity;
    }
    links->members[links->member_count++] = *member;
    return 0;
}

bool links_add_made(struct hf_links *links, const struct hf_version *version, uint64_t index,
                    const struct hf_target *target, bool in_tree)
{
    size_t at;
    if (version->link == 0 || find_group(links, version, target->anchor, &at))
        return false;
    struct group *group = &links->groups[at];
    char *path = in_tree ? strdup(target->path) : NULL;
    if (in_tree && !path)
        return false;
    if (group->is_made) {
        bool added = !add_member(links, &(struct member){at, index, path, .there = false});
        if (!added)
            free(path);
        return added;
    }
    group->is_made = true;
    group->made = index;
    group->made_path = path;
    return false;
}

int links_add_there(struct hf_links *links, struct hf_targets *targets,
                    const struct hf_version *version, uint64_t index,
                    const struct hf_target *target, struct hf_error *error)
{
    struct stat status;
    const char *name;
    int parent_fd;
    size_t at;
    if (version->link == 0 ||
        targets_open_parent(targets, target, HF_TARGETS_LEAVE, &parent_fd, &name, NULL) ||
        fstatat(parent_fd, name, &status, AT_SYMLINK_NOFOLLOW))
        return 0; /* gone since: what comes of it is seen when the files are put into place */
    int result = find_group(links, version, target->anchor, &at);
    if (!result && !links->groups[at].there) {
        struct group *group = &links->groups[at];
        group->dev = status.st_dev;
        group->ino = status.st_ino;
        group->there = strdup(target->path);
        result = group->there ? 0 : HF_ERR_NO_MEMORY;
    }
    if (!result)
        result = add_member(links, &(struct member){.group = at,
                                                    .index = index,
                                                    .there = true,
                                                    .dev = status.st_dev,
                                                    .ino = status.st_ino});
    return result ? hf_error_set(error, (enum hf_err)result, 0, "no memory for a restore") : 0;
}

/* Where a name of the group is staged; target is room for its path. */
static int find_staged(struct hf_targets *targets, size_t anchor, uint64_t index, const char *path,
                       struct hf_target *target, struct hf_staged *out, struct hf_error *error)
{
    target->anchor = anchor;
    snprintf(target->path, sizeof(target->path), "%s", path ? path : "");
    return stage_find(targets, target, index, path != NULL, out, error);
}

/* The file that the group's others become names of: staged, or the one that is there. */
static int find_first(const struct group *group, struct hf_targets *targets,
                      struct hf_target *target, struct hf_staged *out, struct hf_error *error)
{
    if (group->is_made)
        return find_staged(targets, group->anchor, group->made, group->made_path, target, out,
                           error);
    target->anchor = group->anchor;
    snprintf(target->path, sizeof(target->path), "%s", group->there);
    return targets_open_parent(targets, target, HF_TARGETS_LEAVE, &out->dir_fd, &out->name, error);
}

/* The staged name is what is there, not what somebody has put into its place since. */
static int check_same(const struct group *group, int staging_fd, const char *name,
                      struct hf_error *error)
{
    struct stat status;
    if (group->is_made)
        return 0;
    if (fstatat(staging_fd, name, &status, AT_SYMLINK_NOFOLLOW))
        return hf_error_set(error, HF_ERR_IO, errno, "can't look at another name of the file");
    if (status.st_dev == group->dev && status.st_ino == group->ino)
        return 0;
    unlinkat(staging_fd, name, 0);
    return hf_error_set(error, HF_ERR_CONFLICT, 0,
                        "the file that it is another name of was changed during the restore; "
                        "restore again");
}

static int make_link(const struct group *group, struct hf_targets *targets,
                     const struct member *member, struct hf_error *error)
{
    struct hf_target first_target, target;
    struct hf_staged first, staged;
    int result = find_first(group, targets, &first_target, &first, error);
    if (!result)
        result = find_staged(targets, group->anchor, member->index, member->path, &target, &staged,
                             error);
    if (result)
        return result;
    unlinkat(staged.dir_fd, staged.name, 0); /* of an interrupted run */
    if (!linkat(first.dir_fd, first.name, staged.dir_fd, staged.name, 0))
        return check_same(group, staged.dir_fd, staged.name, error);
    return hf_error_set(error, errno == ENOSPC || errno == EDQUOT ? HF_ERR_NO_SPACE : HF_ERR_IO,
                        errno, "can't make it another name of the same file");
}

static int make_member(const struct group *group, const struct member *member, struct hf_job *job,
                       struct hf_targets *targets, struct hf_error *error)
{
    struct hf_error why = {0};
    bool failed = group->is_made && job->actions[group->made] == HF_ACTION_FAILED;
    bool same = !group->is_made && member->dev == group->dev && member->ino == group->ino;
    if (member->there && (failed || same))
        return 0; /* it stays as it is */
    if (failed) {
        job_fail(job, member->index, "the file that it is another name of could not be restored");
        return 0;
    }
    int result = make_link(group, targets, member, &why);
    if (result == HF_ERR_NO_SPACE) {
        *error = why;
        return result;
    }
    if (result)
        job_fail(job, member->index, why.message);
    else if (member->there)
        job->actions[member->index] = HF_ACTION_FILE;
    return 0;
}

int links_make(struct hf_links *links, struct hf_job *job, struct hf_targets *targets,
               struct hf_error *error)
{
    int result = 0;
    for (size_t i = 0; !result && i < links->member_count; i++) {
        const struct member *member = &links->members[i];
        result = make_member(&links->groups[member->group], member, job, targets, error);
    }
    return result;
}
