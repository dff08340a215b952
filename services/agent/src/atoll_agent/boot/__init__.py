"""The first process of a guest: from the kernel's hands to the agent's, and the power off.

    main       what runs, in order
    linux      mount, finit_module, reboot: the system calls that Python has no name for
    mounts     what is mounted where                                        pure
    pivot      makes the root in RAM one that a sandbox can leave behind
    modules    the kernel's modules, in the order that the image says
    settings   the agent's settings from the firmware's configuration       pure
    ports      finds the channel's serial port by its name
    child      starts the agent, and collects whatever ends

The host sees the console. It gets one line for what happened, never the text of an unexpected
error. Whatever fails, the machine goes off: there is nobody here to look after it.
"""
