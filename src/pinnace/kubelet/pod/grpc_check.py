"""The gRPC health protocol (grpc.health.v1), as a client. Loaded only for pods that probe with it."""

import grpc

METHOD = "/grpc.health.v1.Health/Check"
STATUSES = {0: "UNKNOWN", 1: "SERVING", 2: "NOT_SERVING", 3: "SERVICE_UNKNOWN"}


def check(address: str, service: str, timeout: float) -> tuple[bool, str]:
    """Blocks for at most `timeout` seconds: (serving, why not in upstream's words)."""
    with grpc.insecure_channel(address, options=[("grpc.primary_user_agent", "kube-probe/1.36")]) as channel:
        call = channel.unary_unary(METHOD, request_serializer=bytes, response_deserializer=bytes)
        try:
            answer = call(encode(service), timeout=timeout)
        except grpc.RpcError as error:
            return False, explain(error, address, timeout)
    status = decode(answer)
    if status == "SERVING":
        return True, ""
    return False, f'service unhealthy (responded with "{status}")'


def explain(error: grpc.RpcError, address: str, timeout: float) -> str:
    match error.code():
        case grpc.StatusCode.UNIMPLEMENTED:
            return f"error: this server does not implement the grpc health protocol (grpc.health.v1.Health): {error.details()}"
        case grpc.StatusCode.DEADLINE_EXCEEDED:
            return f"timeout: health rpc did not complete within {timeout:g}s"
        case grpc.StatusCode.UNAVAILABLE:
            return f'timeout: failed to connect service "{address}" within {timeout:g}s: context deadline exceeded'
    return f"error: health rpc probe failed: {error.details()}"


def encode(service: str) -> bytes:
    """HealthCheckRequest { string service = 1 }; names longer than 127 bytes need a longer length."""
    data = service.encode()
    if not data:
        return b""
    length, prefix = len(data), bytearray(b"\x0a")
    while length > 127:
        prefix.append(length & 127 | 128)
        length >>= 7
    prefix.append(length)
    return bytes(prefix) + data


def decode(answer: bytes) -> str:
    """HealthCheckResponse { ServingStatus status = 1 }; an empty message is the first value."""
    number = answer[1] if len(answer) >= 2 and answer[0] == 0x08 else 0
    return STATUSES.get(number, "UNKNOWN")
