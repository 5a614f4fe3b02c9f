"""What tests/bench/run drives the peers with where wrk cannot: WebSockets, a steady rate, endpoints that take their
time, clients that do not read. Services and clients run in processes of their own; nothing here is measured but time."""
import multiprocessing, os, select, socket, time

MESSAGE = b'\x81\xc0' + bytes(4) + b'm' * 64  # masked with zeros, as a client sends it
REPLY = b'\x81\x40' + b'r' * 64
UPGRADE = b'GET /ws HTTP/1.1\r\nHost: bench.local\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n'
AGREED = b'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n'
ANSWER = b'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok'


def connect(port):
    s = socket.create_connection(('127.0.0.1', port), 10)
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return s

def listen(port):
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind(('127.0.0.1', port))
    s.listen(4096)
    return s

def aside(work, *args):
    process = multiprocessing.Process(target=work, args=args, daemon=True)
    process.start()
    return process

def serve(listeners, answer):
    """Calls answer(listener, socket, bytes) for what arrives; due answers go out by what answer.due() returns."""
    poll, sockets, homes = select.epoll(), {}, {}
    for listener in listeners: poll.register(listener, select.EPOLLIN); sockets[listener.fileno()] = listener
    while True:
        for fd, _ in poll.poll(answer.due()):
            s = sockets[fd]
            if s in listeners:
                client, _ = s.accept()
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                sockets[client.fileno()], homes[client.fileno()] = client, s
                poll.register(client, select.EPOLLIN)
                continue
            try: got = s.recv(65536)
            except OSError: got = b''
            if got: answer(homes[fd], s, got)
            else: poll.unregister(fd); del sockets[fd]; s.close()

class Echo:  # a WebSocket service: a reply for each message
    def __init__(self): self.rest = {}
    def due(self): return -1
    def __call__(self, _, s, got):
        if got.startswith(b'GET '): return s.sendall(AGREED)
        got = self.rest.pop(s, b'') + got
        count, rest = divmod(len(got), len(MESSAGE))
        if rest: self.rest[s] = got[-rest:]
        if count: s.sendall(REPLY * count)

class Delayed:  # an HTTP service on several ports, each with its time to answer
    def __init__(self, delays): self.delays, self.waiting = delays, {delay: [] for delay in delays.values()}
    def due(self):
        now, soonest = time.monotonic(), -1
        for waiting in self.waiting.values():
            while waiting and waiting[0][0] <= now:
                try: waiting.pop(0)[1].sendall(ANSWER)
                except OSError: pass
            if waiting: soonest = min(waiting[0][0] - now, soonest) if soonest >= 0 else waiting[0][0] - now
        return soonest
    def __call__(self, home, s, got):
        delay = self.delays[home]
        if got.endswith(b'\r\n\r\n'): self.waiting[delay].append((time.monotonic() + delay, s))

def echo(port): serve([listen(port)], Echo())

def delayed(delays):  # {port: seconds}
    homes = {listen(port): delay for port, delay in delays.items()}
    serve(list(homes), Delayed(homes))

def websockets(port, secs, connections, result):
    """Each connection sends its next message when the reply has come."""
    poll, sockets = select.epoll(), {}
    for _ in range(connections):
        s = connect(port)
        s.sendall(UPGRADE)
        head = b''
        while b'\r\n\r\n' not in head: head += s.recv(4096)
        if b' 101 ' not in head[:13]: return result.put(0)
        sockets[s.fileno()] = s
        poll.register(s, select.EPOLLIN)
    for s in sockets.values(): s.sendall(MESSAGE)
    trips, heard, end = 0, dict.fromkeys(sockets, 0), time.perf_counter() + secs
    while time.perf_counter() < end:
        for fd, _ in poll.poll(1):
            got = len(sockets[fd].recv(4096))
            if not got: return result.put(0)
            heard[fd] += got
            if heard[fd] >= len(REPLY):
                heard[fd] -= len(REPLY)
                trips += 1
                sockets[fd].sendall(MESSAGE)
    result.put(trips)

def steady(port, secs, rate, request, result):
    """Requests at a steady rate over as many connections as it takes; times count from when each was due."""
    free = [connect(port) for _ in range(16)]
    for s in free: s.sendall(request); s.recv(65536)
    poll, asked, times = select.epoll(), {}, []
    begun = time.perf_counter()
    due, end = begun, begun + secs
    while due < end or asked:
        now = time.perf_counter()
        while due <= now and due < end:
            s = free.pop() if free else connect(port)
            s.sendall(request)
            asked[s.fileno()] = (s, due)
            poll.register(s, select.EPOLLIN)
            due += 1 / rate
        if now > end + 10: return result.put(None)
        for fd, _ in poll.poll(0):
            s, since = asked.pop(fd)
            poll.unregister(fd)
            if b' 200 ' not in s.recv(65536)[:13]: return result.put(None)
            times.append(time.perf_counter() - since)
            free.append(s)
    times.sort()
    result.put((times[len(times) // 2] * 1000, times[int(len(times) * 0.99)] * 1000))

def answered(work, *args):
    result = multiprocessing.Queue()
    process = aside(work, *args, result)
    try: return result.get(timeout=120)
    finally: process.join(10)
