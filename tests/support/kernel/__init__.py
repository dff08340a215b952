"""Fakes of the kernel's interfaces to attestation, written after the drivers' sources.

machine    the port of the agent: files, devices, services, and memory that only it may touch
configfs   configfs-tsm (drivers/virt/coco/tsm.c)
sev        /dev/sev-guest (drivers/virt/coco/sev-guest/sev-guest.c), and the host behind it
tdx        /dev/tdx_guest, and the host's quote generation service
recorded   what real processors answered
"""
