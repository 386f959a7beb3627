"""Header fields whose meaning hangs on how they are joined."""

from pinnace.web import messages, request_parser, wire


def parsed(data: bytes) -> list[request_parser.Exchange]:
    found: list[request_parser.Exchange] = []
    parser = request_parser.RequestParser(messages.Peer(), 65536, found.append, lambda: None, lambda: None)
    parser.feed(data)
    return found


def test_two_hosts_are_refused_and_one_is_not() -> None:
    (both,) = parsed(b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n")
    assert both.refusal == (400, "too many Host headers")
    (same,) = parsed(b"GET / HTTP/1.1\r\nhost: a\r\nHOST: a\r\n\r\n")
    assert same.refusal is not None
    first, second = parsed(b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n")
    assert (first.refusal, second.refusal) == (None, None)


def test_fields_with_commas_in_them_stay_apart() -> None:
    (one,) = parsed(
        b"GET / HTTP/1.1\r\nHost: a\r\nImpersonate-Group: a,b\r\nImpersonate-Group: c\r\nAccept: x\r\nAccept: y\r\n\r\n"
    )
    assert one.request.headers["impersonate-group"] == "a,b\nc"
    assert one.request.headers["accept"] == "x, y"


def test_cookies_of_a_backend_are_passed_on_one_by_one() -> None:
    joined = wire.join_fields("set-cookie", "a=1; Expires=Wed, 1 Jan 2031 00:00:00 GMT", "b=2")
    assert list(wire.each_field({"set-cookie": joined, "x": "y"})) == [
        ("set-cookie", "a=1; Expires=Wed, 1 Jan 2031 00:00:00 GMT"),
        ("set-cookie", "b=2"),
        ("x", "y"),
    ]
