# An HTTPS server with Python's ssl and asyncio: where it listens, its chain and key.
import asyncio, ssl, sys
address, port, chain, key = sys.argv[1:]
context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
context.load_cert_chain(chain, key)

async def answer(reader, writer):
    try:
        await reader.readuntil(b'\r\n\r\n')
        writer.write(b'HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nok\n')
        await writer.drain()
    except (asyncio.IncompleteReadError, OSError):
        pass
    writer.close()

async def serve():
    server = await asyncio.start_server(answer, address, int(port), ssl=context, backlog=128)
    await server.serve_forever()

asyncio.run(serve())
