/* `holdfast-agent run`: the daemon from start to stop. */
#ifndef HF_AGENT_DAEMON_H
#define HF_AGENT_DAEMON_H

/* Serve with the configuration at config_path until SIGTERM or SIGINT; SIGHUP reads it again and
 * goes on with the new one if that is good. Returns the process's exit code: 0 after a clean stop,
 * 1 when it could not start. */
int daemon_run(const char *config_path);

#endif
