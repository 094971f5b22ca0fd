#include "agent/man.h"

#include "agent/config/config.h"
#include "common/roff.h"

void man_daemon(FILE *out, const struct hf_roff_command *commands)
{
    hf_roff_title(out, "holdfast-agent", 8, "capture a host's files and restore them");
    hf_roff_commands(out, "holdfast-agent", commands);
    hf_roff_section(out, "DESCRIPTION",
                    "The agent captures the files that its configuration names the moment they "
                    "change and streams them to the collector over mutual TLS. While the collector "
                    "can't be reached it keeps versions in a bounded spool. It restores what the "
                    "collector orders, but only beneath the directories that this host's own "
                    "configuration allows, and runs no command but those named there.");
    hf_roff_section(out, "SIGNALS",
                    "SIGHUP reads the configuration again; one with a mistake is refused and the "
                    "old one stays. SIGTERM and SIGINT end the agent cleanly.");
    fputs(".SH FILES\n.TP\n.I /etc/holdfast/agent.conf\nthe configuration; see "
          ".BR holdfast\\-agent.conf (5)\n.TP\n.I /var/lib/holdfast\\-agent\nits state, spool and "
          "identity\n"
          ".SH EXIT STATUS\n.TP\n.B 0\ndone, or ended by a signal that asks for it\n.TP\n.B 1\n"
          "it failed, or the configuration is wrong\n.TP\n.B 2\nthe command line is wrong\n"
          ".SH SEE ALSO\n.BR holdfast\\-agent.conf (5),\n.BR holdfast\\-collector (8),\n"
          ".BR holdfast (1)\n",
          out);
}

void man_config(FILE *out)
{
    hf_roff_title(out, "holdfast-agent.conf", 5, "what a host protects and what it allows");
    fputs(".SH SYNOPSIS\n.I /etc/holdfast/agent.conf\n", out);
    hf_roff_section(
        out, "DESCRIPTION",
        "Sections in brackets, then lines of the form key = value; lines that start with # or ; "
        "are comments. A key that is not known is refused. holdfast-agent check says what a "
        "configuration means, or names file, line, key and remedy of a mistake.\n"
        "Durations are like 200ms, 30s, 10m, 2h, 7d; sizes like 64MiB or 1G. The file names "
        "commands that run as root, so only root may be able to write it.");
    fputs(".SH KEYS\n", out);
    hf_roff_keys(out, config_keys);
    fputs(".SH SEE ALSO\n.BR holdfast\\-agent (8)\n", out);
}
