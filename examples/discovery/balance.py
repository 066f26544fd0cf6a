"""gRPC's own resolver and balancer over a headless name: one server per address, and which of them answer.

Needs grpcio.

python balance.py TARGET ADDRESS…
"""

import sys
from concurrent import futures

import grpc

PORT = 50051


def server(address: str) -> grpc.Server:
    handler = grpc.unary_unary_rpc_method_handler(lambda request, context: address.encode())
    made = grpc.server(futures.ThreadPoolExecutor(2))
    made.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("test.Who", {"Are": handler})])
    made.add_insecure_port(f"{address}:{PORT}")
    made.start()
    return made


def main(target: str, *addresses: str) -> None:
    servers = [server(address) for address in addresses]
    policy = ("grpc.lb_policy_name", "round_robin")
    with grpc.insecure_channel(target, options=[policy]) as channel:
        ask = channel.unary_unary("/test.Who/Are")
        met = set()
        while len(met) < len(addresses):  # the second connection may come up after the first calls
            met.add(ask(b"", wait_for_ready=True, timeout=20).decode())
    print(*sorted(met))
    for one in servers:
        one.stop(None)


if __name__ == "__main__":
    main(*sys.argv[1:])
