"""Both ends of WebSockets through a gateway: `websockets` over HTTP/1.1, `h2` with `wsproto` over HTTP/2. What arrives
must be what was sent, compression is between the ends alone, and so are the reasons for which they close.
Usage: both_ends.py PORT-OF-THE-SERVICE PORT-OF-THE-GATEWAY"""
import asyncio, random, socket, sys

import h2.config, h2.connection, h2.events
from websockets.asyncio.client import connect
from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed
from wsproto.extensions import PerMessageDeflate
from wsproto.frame_protocol import FrameProtocol, Opcode

SERVICE, GATEWAY = int(sys.argv[1]), int(sys.argv[2])
URL = f'ws://127.0.0.1:{GATEWAY}/'
closed = asyncio.Queue()


async def service(ws):
    async def fragments():
        for n in range(50): yield 'x' * n
    try:
        async for message in ws:
            if message == 'close': return await ws.close(4000, 'because')
            if message == 'abort': return ws.transport.abort()
            await ws.send(fragments() if message == 'fragments' else message)
    except ConnectionClosed: pass
    finally: closed.put_nowait((ws.close_code, ws.close_reason))

async def over_http_1(compression):
    async with connect(URL, compression=compression, max_size=None) as ws:
        extensions = [extension.name for extension in ws.protocol.extensions]
        assert extensions == (['permessage-deflate'] if compression else []), extensions
        for length in (0, 1, 125, 126, 65535, 65536, 16 << 20):
            message = random.randbytes(length)
            await ws.send(message)
            assert await ws.recv() == message, length
        pieces = [random.randbytes(n) for n in range(200)]
        async def fragments():
            for piece in pieces: yield piece
        await ws.send(fragments())
        assert await ws.recv() == b''.join(pieces)
        await ws.send('fragments')
        assert await ws.recv() == 'x' * sum(range(50))
        for n in range(20):
            pong = await ws.ping(random.randbytes(125))
            await ws.send(str(n))
            assert await ws.recv() == str(n)
            await pong
        await ws.close(4321, 'bye')
    assert await closed.get() == (4321, 'bye')
    for word, code in (('close', 4000), ('abort', 1006)):
        async with connect(URL, compression=compression) as ws:
            await ws.send(word)
            try: sys.exit(f'not closed: {await ws.recv()}')
            except ConnectionClosed: assert ws.close_code == code, ws.close_code
        await closed.get()

class OverHttp2:
    def __init__(self):
        self.socket = socket.create_connection(('127.0.0.1', GATEWAY), 60)
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, header_encoding='utf-8'))
        self.h2.initiate_connection()
        self.arrived, self.head = [], None
        while self.h2.remote_settings.enable_connect_protocol != 1: self.receive()
        self.stream = self.h2.get_next_available_stream_id()
        asked = {':method': 'CONNECT', ':protocol': 'websocket', ':scheme': 'http', ':path': '/', ':authority': 'a.test',
                 'sec-websocket-version': '13', 'sec-websocket-extensions': 'permessage-deflate'}
        self.h2.send_headers(self.stream, list(asked.items()))
        while self.head is None: self.receive()
        assert self.head[':status'] == '200' and 'sec-websocket-accept' not in self.head, self.head
        deflate = PerMessageDeflate()
        deflate.finalize(self.head['sec-websocket-extensions'])
        self.frames = FrameProtocol(client=True, extensions=[deflate])

    def receive(self):
        self.socket.sendall(self.h2.data_to_send())
        for event in self.h2.receive_data(self.socket.recv(65536) or sys.exit('the connection was closed')):
            if isinstance(event, h2.events.ResponseReceived): self.head = dict(event.headers)
            if isinstance(event, h2.events.StreamEnded): self.arrived.append(None)
            if isinstance(event, h2.events.DataReceived):
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                self.frames.receive_bytes(event.data)
                self.arrived.extend(self.frames.received_frames())
        self.socket.sendall(self.h2.data_to_send())

    def send(self, data):
        while data:
            room = min(len(data), self.h2.local_flow_control_window(self.stream), self.h2.max_outbound_frame_size)
            if room == 0: self.receive(); continue
            self.h2.send_data(self.stream, data[:room])
            self.socket.sendall(self.h2.data_to_send())
            data = data[room:]

    def next(self):  # a message, or a control frame
        message = b''
        while True:
            while not self.arrived: self.receive()
            frame = self.arrived.pop(0)
            if frame is None or frame.opcode in (Opcode.CLOSE, Opcode.PONG): return frame
            message += bytes(frame.payload)
            if frame.message_finished: return message

def over_http_2():
    client = OverHttp2()
    frames = client.frames
    for length in (0, 1, 126, 70_000, 4 << 20):
        message = random.randbytes(length)
        client.send(frames.send_data(message, fin=True))
        assert client.next() == message, length
    message = random.randbytes(30_000)
    client.send(frames.send_data(message[:10_000], fin=False))
    client.send(frames.ping(b'between'))
    client.send(frames.send_data(message[10_000:], fin=True))
    heard = [client.next(), client.next()]
    assert message in heard and any(getattr(frame, 'opcode', None) == Opcode.PONG for frame in heard)
    client.send(frames.close(1000, 'done'))
    close = client.next()
    assert close.opcode == Opcode.CLOSE and close.payload[1] == 'done', close
    assert client.next() is None

async def main():
    async with serve(service, '127.0.0.1', SERVICE, max_size=None):
        await over_http_1('deflate')
        await over_http_1(None)
        await asyncio.to_thread(over_http_2)
    print('all is as it was sent')

asyncio.run(main())
