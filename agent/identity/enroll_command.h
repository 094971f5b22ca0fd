/* `holdfast-agent enroll`: join a collector with a token. */
#ifndef HF_AGENT_IDENTITY_ENROLL_COMMAND_H
#define HF_AGENT_IDENTITY_ENROLL_COMMAND_H

/* argv[0] is the command's name. Returns an exit status. */
int enroll_command(int argc, char **argv);

#endif
