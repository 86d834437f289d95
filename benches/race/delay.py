"""delay.py MILLISECONDS FROM TO: forwards port FROM of every loopback address to port TO of the same address, and delays it.

MILLISECONDS is the round trip: each direction takes half of it, and a new connection takes one round trip.
"""

import asyncio
import sys

CHUNK = 1 << 16


async def forward(reader, writer, delay):
    """Passes on each chunk at the time of its arrival plus the delay, so that the throughput is not limited."""
    loop = asyncio.get_running_loop()
    chunks = asyncio.Queue()

    async def write():
        while True:
            due, chunk = await chunks.get()
            await asyncio.sleep(max(0, due - loop.time()))
            if not chunk:
                break
            writer.write(chunk)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()

    writing = asyncio.create_task(write())
    try:
        while chunk := await reader.read(CHUNK):
            chunks.put_nowait((loop.time() + delay, chunk))
    except ConnectionError:
        pass
    chunks.put_nowait((loop.time() + delay, b""))
    await writing


async def connection(reader, writer, delay, port):
    await asyncio.sleep(2 * delay)
    address = writer.get_extra_info("sockname")[0]
    try:
        there_reader, there_writer = await asyncio.open_connection(address, port)
        await asyncio.gather(
            forward(reader, there_writer, delay), forward(there_reader, writer, delay), return_exceptions=True
        )
        there_writer.close()
    finally:
        writer.close()


async def main(milliseconds, port_from, port_to):
    delay = milliseconds / 2000
    # The loop itself keeps only weak references to tasks.
    connections = set()

    def accept(reader, writer):
        task = asyncio.create_task(connection(reader, writer, delay, port_to))
        connections.add(task)
        task.add_done_callback(connections.discard)

    server = await asyncio.start_server(accept, "0.0.0.0", port_from, backlog=512)
    await server.serve_forever()


asyncio.run(main(*map(int, sys.argv[1:])))
