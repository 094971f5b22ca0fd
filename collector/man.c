#include "collector/man.h"

#include "collector/config.h"
#include "common/roff.h"

void man_daemon(FILE *out, const struct hf_roff_command *commands)
{
    hf_roff_title(out, "holdfast-collector", 8, "keep what the fleet's agents capture");
    hf_roff_commands(out, "holdfast-collector", commands);
    hf_roff_section(out, "DESCRIPTION",
                    "The collector takes what agents capture, keeps it deduplicated, compressed "
                    "and encrypted in append-only packs, catalogs every version, and pushes "
                    "restores. Nothing is acknowledged to an agent before it is on the disk. A "
                    "lost catalog is rebuilt from the packs when the collector starts.");
    hf_roff_section(out, "SIGNALS",
                    "SIGHUP takes a certificate that was issued anew and the log level of the "
                    "configuration. "
                    "SIGTERM and SIGINT end the collector cleanly.");
    fputs(".SH FILES\n.TP\n.I /var/lib/holdfast/collector.conf\nthe configuration; see "
          ".BR holdfast\\-collector.conf (5)\n.TP\n.I /var/lib/holdfast/repository\nthe packs\n"
          ".TP\n.I /var/lib/holdfast/repository.key\nwithout it no backup can be read: keep a copy "
          "elsewhere\n.TP\n.I /var/lib/holdfast/ca\nthe certificate authority; move root.key "
          "offline\n"
          ".SH EXIT STATUS\n.TP\n.B 0\ndone, or ended by a signal that asks for it\n.TP\n.B 1\n"
          "it failed, or the configuration is wrong\n.TP\n.B 2\nthe command line is wrong\n"
          ".SH SEE ALSO\n.BR holdfast\\-collector.conf (5),\n.BR holdfast\\-agent (8),\n"
          ".BR holdfast (1)\n",
          out);
}

void man_config(FILE *out)
{
    hf_roff_title(out, "holdfast-collector.conf", 5, "where a collector's things are");
    fputs(".SH SYNOPSIS\n.I /var/lib/holdfast/collector.conf\n", out);
    hf_roff_section(
        out, "DESCRIPTION",
        "Made by holdfast-collector init. Sections in brackets, then lines of the form key = "
        "value; lines that start with # or ; are comments. A key that is not known is refused. "
        "holdfast-collector check says what a configuration means, or what is wrong in it.\n"
        "Durations are like 30s, 10m, 2h, 7d; sizes like 64MiB or 1G.");
    fputs(".SH KEYS\n", out);
    hf_roff_keys(out, collector_config_keys);
    fputs(".SH SEE ALSO\n.BR holdfast\\-collector (8)\n", out);
}
