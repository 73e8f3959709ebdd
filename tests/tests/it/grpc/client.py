"""Makes one call of each kind and says what came of it: `client.py ADDRESS [CERTIFICATE]`."""
import queue
import sys

import grpc

PATIENCE = 30
address, *roots = sys.argv[1:]
# The site's name, which is the certificate's as well.
options = [("grpc.default_authority", "www.example.com"), ("grpc.ssl_target_name_override", "www.example.com")]
if roots:
    credentials = grpc.ssl_channel_credentials(open(roots[0], "rb").read())
    channel = grpc.secure_channel(address, credentials, options)
else:
    channel = grpc.insecure_channel(address, options)


def unary(payload):
    response, call = channel.unary_unary("/test.Test/Unary").with_call(payload, timeout=PATIENCE)
    trailers = dict(call.trailing_metadata())
    return f"{response == payload} {trailers['x-length']} {call.code().name}"


def failure(call):
    seen = []
    try:
        seen.extend(call())
    except grpc.RpcError as error:
        return f"{seen} {error.code().name} {error.details()}"


def overlap():
    """Each message goes out when the answer to the one before it is there."""
    questions = queue.Queue()
    answers = channel.stream_stream("/test.Test/Echo")(iter(questions.get, None), timeout=PATIENCE)
    seen = []
    for number in range(3):
        questions.put(str(number).encode())
        seen.append(next(answers))
    questions.put(None)
    return f"{seen} {list(answers)} {answers.code().name}"


def take_back():
    call = channel.unary_stream("/test.Test/Wait")(b"", timeout=PATIENCE)
    first = next(call)
    call.cancel()
    return first


print("unary", unary(b"hello"))
print("large", unary(b"x" * 2_000_000))
print("empty", unary(b""))
refuse = channel.unary_unary("/test.Test/Refuse")
print("refused", failure(lambda: refuse(b"", timeout=PATIENCE)))
print("unknown", failure(lambda: channel.unary_unary("/test.Test/Unknown")(b"", timeout=PATIENCE)))
print("broken off", failure(lambda: channel.unary_stream("/test.Test/BreakOff")(b"", timeout=PATIENCE)))
counted = list(channel.unary_stream("/test.Test/Count")(b"1000", timeout=PATIENCE))
print("counted", len(counted), counted[-1])
joined = channel.stream_unary("/test.Test/Join")(iter([b"a", b"b", b"c"]), timeout=PATIENCE)
print("joined", joined)
print("overlapping", overlap())
print("taken back", take_back())
late = channel.unary_stream("/test.Test/Wait")
print("late", failure(lambda: late(b"", timeout=0.2)))
