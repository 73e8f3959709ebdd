"""A gRPC server of methods on plain bytes: `server.py [CERTIFICATE KEY]`. Says its port, and when a call was taken back."""
import sys
import threading
from concurrent import futures

import grpc


def unary(request, context):
    context.set_trailing_metadata((("x-length", str(len(request))),))
    return request


def refuse(request, context):
    context.abort(grpc.StatusCode.NOT_FOUND, "no such thing")


def break_off(request, context):
    yield b"first"
    context.abort(grpc.StatusCode.DATA_LOSS, "broke off")


def count(request, context):
    for number in range(int(request)):
        yield str(number).encode()


def join(requests, context):
    return b"+".join(requests)


def echo(requests, context):
    for request in requests:
        yield request


def wait(request, context):
    gone = threading.Event()
    context.add_callback(gone.set)
    yield b"waiting"
    gone.wait()
    print("taken back", file=sys.stderr, flush=True)


handlers = grpc.method_handlers_generic_handler(
    "test.Test",
    {
        "Unary": grpc.unary_unary_rpc_method_handler(unary),
        "Refuse": grpc.unary_unary_rpc_method_handler(refuse),
        "BreakOff": grpc.unary_stream_rpc_method_handler(break_off),
        "Count": grpc.unary_stream_rpc_method_handler(count),
        "Join": grpc.stream_unary_rpc_method_handler(join),
        "Echo": grpc.stream_stream_rpc_method_handler(echo),
        "Wait": grpc.unary_stream_rpc_method_handler(wait),
    },
)
server = grpc.server(futures.ThreadPoolExecutor(max_workers=16))
server.add_generic_rpc_handlers((handlers,))
if len(sys.argv) > 1:
    certificate, key = (open(name, "rb").read() for name in sys.argv[1:])
    port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([(key, certificate)]))
else:
    port = server.add_insecure_port("127.0.0.1:0")
server.start()
print(f"port {port} .", file=sys.stderr, flush=True)
server.wait_for_termination()
