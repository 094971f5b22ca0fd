/* completion, man, version: what needs no collector. */
#include "collector/ctl/ctl.h"

int command_completion(struct ctl *ctl, const struct ctl_args *args)
{
    (void)ctl;
    (void)args;
    help_completion(stdout);
    return CTL_OK;
}

int command_man(struct ctl *ctl, const struct ctl_args *args)
{
    (void)ctl;
    char name[64] = "";
    const char *first = args_positional(args, 0);
    const char *second = args_positional(args, 1);
    snprintf(name, sizeof name, "%s%s%s", first ? first : "", second ? " " : "",
             second ? second : "");
    return help_man(name, stdout);
}

int command_version(struct ctl *ctl, const struct ctl_args *args)
{
    (void)ctl;
    (void)args;
    puts("holdfast " HF_VERSION);
    return CTL_OK;
}
