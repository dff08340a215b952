"""How a guest without a network reaches the few services of its host.

    frames      frames on one byte stream that carries several, pure
    credit      what one of those streams may still send and receive, pure
    mux         the streams of a session: frames in, events and frames out, pure
    session     the same over an asyncio stream
    pumping     copies one stream into another
    address     where a channel is: `serial:NAME`, `vsock:PORT`, `unix:PATH`, `tcp:HOST:PORT`
    greeting    the line with which a stream of its own connection names its service
    sockets     vsock, in pieces that its device carries; addresses that are too long for a socket
    ports       which device a port of that name is
    serial      a virtio-serial port
    dialer      the guest's side
    limits      what a guest may do
    bucket      so many in a row, and so many a second, pure
    relay       the host's side

A guest opens streams, the host never does, and a stream goes to a service that the host named.
Both sides are hostile to each other: neither believes a length, and what breaks the protocol ends
the channel.
"""
