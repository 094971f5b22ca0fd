/* What a configuration means, for `holdfast-agent check`. */
#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/config/config.h"
#include "common/clock.h"

#define DEPTH_MAX 64

struct count {
    uint64_t files, bytes;
};

static void walk(int parent, const char *name, unsigned depth, struct count *count)
{
    struct stat status;
    if (fstatat(parent, name, &status, AT_SYMLINK_NOFOLLOW) != 0) {
        return;
    }
    if (!S_ISDIR(status.st_mode)) {
        count->files++;
        count->bytes += S_ISREG(status.st_mode) ? (uint64_t)status.st_size : 0;
        return;
    }
    int fd = depth < DEPTH_MAX
                 ? openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
                 : -1;
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) {
            walk(fd, entry->d_name, depth + 1, count);
        }
    }
    if (dir) {
        closedir(dir);
    }
}

static void describe_path(const char *path, FILE *out)
{
    struct stat status;
    struct count count = {0};
    char size[HF_TIME_TEXT_BYTES];
    if (lstat(path, &status) != 0) {
        fprintf(out, "    %s  (not there now; it is watched for)\n", path);
        return;
    }
    walk(AT_FDCWD, path, 0, &count);
    hf_size_text(count.bytes, size);
    fprintf(out, "    %s  (%llu files, %s, before excludes)\n", path,
            (unsigned long long)count.files, size);
}

static void describe_pace(const struct hf_config_source *source, FILE *out)
{
    char debounce[HF_TIME_TEXT_BYTES];
    char rescan[HF_TIME_TEXT_BYTES];
    hf_duration_text(source->debounce_ns, debounce);
    hf_duration_text(source->rescan_ns, rescan);
    fprintf(out, "    captured %s after a change, compared with the disk every %s\n", debounce,
            rescan);
}

static void describe_hook(const char *when, const char *const *argv, FILE *out)
{
    if (argv) {
        fprintf(out, "    %s a restore runs", when);
        for (size_t i = 0; argv[i]; i++) {
            fprintf(out, " %s", argv[i]);
        }
        fprintf(out, "\n");
    }
}

static void warn_of_hook(const struct hf_config_source *source, const char *key,
                         const char *const *argv, FILE *out)
{
    struct stat status;
    if (!argv) {
        return;
    }
    if (stat(argv[0], &status) != 0) {
        fprintf(out, "warning: source %s: %s: there is no %s; restores will fail\n", source->name,
                key, argv[0]);
    } else if (!S_ISREG(status.st_mode) || !(status.st_mode & (S_IXUSR | S_IXGRP | S_IXOTH))) {
        fprintf(out,
                "warning: source %s: %s: %s is not a program; chmod +x it, or restores will "
                "fail\n",
                source->name, key, argv[0]);
    } else if (status.st_mode & S_IWOTH) {
        fprintf(out,
                "warning: source %s: %s: %s can be changed by anybody, who so could run "
                "programs as the agent; chmod o-w it\n",
                source->name, key, argv[0]);
    }
}

static void warn_of_overlap(const struct hf_config *config, FILE *out)
{
    for (size_t i = 0; i < config->source_count; i++) {
        for (size_t j = i + 1; j < config->source_count; j++) {
            const struct hf_config_source *a = &config->sources[i];
            const struct hf_config_source *b = &config->sources[j];
            for (size_t p = 0; p < a->path_count; p++) {
                for (size_t q = 0; q < b->path_count; q++) {
                    size_t shorter = strlen(a->paths[p]) < strlen(b->paths[q])
                                         ? strlen(a->paths[p])
                                         : strlen(b->paths[q]);
                    char after_a = a->paths[p][shorter];
                    char after_b = b->paths[q][shorter];
                    if (strncmp(a->paths[p], b->paths[q], shorter) == 0 &&
                        (after_a == '\0' || after_a == '/') &&
                        (after_b == '\0' || after_b == '/')) {
                        fprintf(
                            out,
                            "warning: sources %s and %s overlap (%s, %s): files in both are kept "
                            "twice\n",
                            a->name, b->name, a->paths[p], b->paths[q]);
                    }
                }
            }
        }
    }
}

void config_describe(const struct hf_config *config, FILE *out)
{
    char text[HF_TIME_TEXT_BYTES];
    hf_size_text(config->spool_max_bytes, text);
    fprintf(out, "State     %s, spool of at most %s\nIdentity  %s\n", config->state, text,
            config->identity_directory);
    if (config->collector_host) {
        fprintf(out, "Collector %s port %u\n", config->collector_host, config->collector_port);
    }
    fprintf(out, "Priority  nice %d, for the disk %s\n", config->priority.nice,
            config->priority.io_class == HF_IO_IDLE ? "only when it is idle" : "best effort");
    if (config->upload_limit > 0) {
        hf_size_text(config->upload_limit, text);
        fprintf(out, "Upload    at most %s a second\n", text);
    }
    for (size_t i = 0; i < config->source_count; i++) {
        const struct hf_config_source *source = &config->sources[i];
        fprintf(out, "\nSource %s, class %s%s\n", source->name, source->class_name,
                source->validate == HF_VALIDATE_JSON ? ", checked to be JSON"
                : config_is_sqlite(source)           ? ", SQLite databases, captured through SQLite"
                                                     : "");
        for (size_t j = 0; j < source->path_count; j++) {
            describe_path(source->paths[j], out);
        }
        for (size_t j = 0; j < source->include_count; j++) {
            fprintf(out, "    only %s\n", source->includes[j]);
        }
        for (size_t j = 0; j < source->exclude_count; j++) {
            fprintf(out, "    without %s\n", source->excludes[j]);
        }
        describe_pace(source, out);
        for (size_t j = 0; j < source->quiet.count; j++) {
            char quiet[HF_QUIET_TEXT_BYTES];
            quiet_text(&source->quiet.spans[j], quiet);
            fprintf(out, "    waits in quiet hours %s\n", quiet);
        }
        if (source->one_file_system) {
            fprintf(out, "    without what is mounted beneath\n");
        }
        for (size_t j = 0; j < source->restore_root_count; j++) {
            fprintf(out, "    may be restored beneath %s\n", source->restore_roots[j]);
        }
        if (source->restore_privileged) {
            fprintf(out, "    takes set-id bits and file capabilities from the collector\n");
        }
        for (size_t j = 0; j < source->restore_from_count; j++) {
            fprintf(out, "    takes restores of host %s\n", source->restore_from[j]);
        }
        describe_hook("before", source->before_restore, out);
        describe_hook("after", source->after_restore, out);
    }
    for (size_t i = 0; i < config->source_count; i++) {
        const struct hf_config_source *source = &config->sources[i];
        warn_of_hook(source, "before_restore", source->before_restore, out);
        warn_of_hook(source, "after_restore", source->after_restore, out);
    }
    warn_of_overlap(config, out);
}
