/* Every key of agent.conf: what is not in here is refused, and the manual page is made from it. */
#include "agent/config/config.h"
#include "common/ini.h"

#define SOURCE "source NAME"
#define PRESET "preset casare-robot"

const struct hf_ini_key config_keys[] = {
    {"agent", "state", "DIR", "/var/lib/holdfast-agent",
     "where the agent keeps its state, its spool and the plans of restores"},
    {"agent", "spool_max", "SIZE", "1GiB",
     "how much disk versions may take that wait while the collector can't be reached, 256KiB at "
     "least; when it is used up they are left out, and what the files are then is captured"},
    {"agent", "mark_interval", "DURATION", "15s",
     "how often the collector is told up to when a source is protected"},
    {"agent", "reconnect_max", "DURATION", "30s",
     "the longest pause between two attempts to reach the collector"},
    {"agent", "upload_limit", "SIZE", "none",
     "how much a second may go to the collector, 16KiB at least: file contents and what is "
     "recorded "
     "of them, configuration, credentials and checkpoints first. Messages that keep the session "
     "going "
     "are few and don't wait. In any stretch of time a quarter of a second's worth may come on "
     "top, "
     "or one piece of a file, which is up to 512KiB"},
    {"agent", "nice", "0 to 19", "10",
     "how far capture stands back for other programs that want the CPU; restores and the "
     "connection "
     "don't. While a restore waits for what is on the host to be captured, capture doesn't either"},
    {"agent", "io_class", "best-effort|idle", "best-effort",
     "the same for the disk, where its scheduler knows priorities (bfq, mq-deadline). With idle, a "
     "disk that is always busy keeps everything from being captured"},
    {"agent", "io_priority", "0 to 7", "7", "within best-effort; 0 goes first"},
    {"agent", "quiet_hours", "[DAYS] HH:MM-HH:MM", NULL,
     "when the host is left in peace, by its own clock: 09:00-17:30, mon-fri 09:00-17:30, sat,sun "
     "00:00-24:00, fri 22:00-06:00; repeatable. Changes are noticed and captured when it is over, "
     "in "
     "the state that they have then; configuration, credentials and checkpoints don't wait, and "
     "nothing does that a restore is about to replace. When clocks are set forward, what they "
     "never "
     "show is left out; when they are set back, what they show twice is quiet twice"},
    {"identity", "directory", "DIR", "/var/lib/holdfast-agent/identity",
     "key and certificate, made by holdfast-agent enroll"},
    {"collector", "address", "HOST:PORT", "what the host was told when it joined",
     "where the collector listens for agents, when it has moved; its certificate has to name HOST"},
    {PRESET, "home", "DIR", NULL,
     "home directory of the user that CasareRPA runs as; [preset casare-orchestrator] is for an "
     "orchestrator. A preset expands to sources, which a [source NAME] of the same name refines. "
     "For several homes the section is written several times, and both presets may stand together: "
     "sources of one name then protect the paths of all"},
    {PRESET, "workflows_dir", "DIR", "workflows beneath home", "where the workflows are"},
    {PRESET, "system", "yes|no", "yes", "also protect /etc/casare-rpa and /var/log/casare-rpa"},
    {SOURCE, "kind", "files|sqlite", "files",
     "how it is captured: files as they are; with sqlite every regular file is taken for an SQLite "
     "database and captured through SQLite's backup, whole and consistent whoever writes to it, "
     "without its -wal, -shm and -journal. What is no database, or damaged, is captured all the "
     "same and flagged, and the source's note says so"},
    {SOURCE, "class", "CLASS", NULL,
     "what sort of data it is: workflows, credentials, logs, config, metrics, checkpoints or "
     "database"},
    {SOURCE, "path", "PATH", NULL, "an absolute file or directory to protect; repeatable"},
    {SOURCE, "include", "GLOB", "everything",
     "only what matches, relative to the path; ** crosses directories; repeatable"},
    {SOURCE, "exclude", "GLOB", NULL, "not what matches, even if included; repeatable"},
    {SOURCE, "debounce", "DURATION", "200ms",
     "how long a file has to be quiet, so that a burst of writes makes one version"},
    {SOURCE, "rescan", "DURATION", "60s",
     "how often everything is compared where inotify does not tell of all changes: beyond the "
     "limit "
     "of watches, on network file systems, after something could not be read"},
    {SOURCE, "verify", "DURATION", "6h",
     "how often everything is compared where it does: for what is written by mmap, or by a name "
     "outside the path. Between two of these nothing is read that did not change"},
    {SOURCE, "one_file_system", "yes|no", "no",
     "leave out what is on other file systems, mounted beneath a path"},
    {SOURCE, "quiet_hours", "none|[DAYS] HH:MM-HH:MM", "those of [agent]",
     "the same for this source, whatever its class; repeatable. none: it never waits"},
    {SOURCE, "validate", "json", NULL,
     "read a file that does not parse again before it is recorded; after 30 s it is recorded and "
     "flagged"},
    {SOURCE, "restore_root", "DIR", "the paths themselves",
     "a directory beneath which the collector may restore this source as well; repeatable"},
    {SOURCE, "restore_from", "HOST", NULL,
     "id of another host whose data may be restored here, or * for any; repeatable"},
    {SOURCE, "restore_privileged", "yes|no", "no",
     "also give restored files their set-user-ID and set-group-ID bits, their capabilities and "
     "what else of security.* and trusted.* they had, and make devices. With it the collector, "
     "and the hosts of restore_from, can make programs that run as root on this host, and reach "
     "its disks"},
    {SOURCE, "before_restore", "COMMAND", NULL,
     "run before a restore replaces files; words are split at blanks, there is no shell"},
    {SOURCE, "after_restore", "COMMAND", NULL, "run after it, also when it failed"},
    {.key = NULL},
};
