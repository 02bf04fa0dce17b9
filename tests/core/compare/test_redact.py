"""Secrets are gone from headers, targets and bodies, and what is left can still be compared."""

from __future__ import annotations

import json
import re
import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.compare.redact import redacted_body, redacted_headers, redacted_target, redacted_within
from proxy.core.compare.sensitive import mark
from tests.support.exploring import examples

SALT = b"0123456789abcdef"
NAMES = ["password", "Password", "old_password", "passwd", "passWord2", "user-password-hash", "secret", "clientSecret",
         "token", "access_token", "refreshToken", "csrf-tokens", "api_key", "apiKey", "API-KEY", "private_key",
         "authorization", "Authorization", "session", "session_id", "sessionToken", "ssn", "userSSN", "user_ssn",
         "cardNumber", "card_number", "credit_card", "cvv", "cardCvv", "iban", "IBAN", "otp", "pin", "jwt",
         "credentials", "set-cookie"]
HARMLESS = ["id", "name", "token_count", "shopping", "lesson", "author", "keyboard", "spinner", "pant", "key", "ürgh",
            "",
            "opinion", "a b", ":x", "[", ","]
HIDDEN = st.integers(0, 10**9).map(lambda number: f"HIDDEN{number}")


def values(leaf: Any) -> Any:
    members = st.sampled_from(NAMES + HARMLESS)
    return st.recursive(leaf, lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(members, inner, max_size=3)), max_leaves=6)


TRICKY = st.sampled_from(['"', "\\", '\\"', ':"', '": ', "\n", "é", "\ud800", "{", "]", "}"])
SECRET = st.builds(lambda before, secret, after: before + secret + after, TRICKY, HIDDEN, TRICKY)
OPEN = st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=6), TRICKY)
DOCUMENTS = st.recursive(OPEN, lambda inner: st.one_of(
    st.lists(inner, max_size=3),
    st.dictionaries(st.sampled_from(HARMLESS), inner, max_size=3),
    st.builds(lambda name, hidden, rest: {**rest, name: hidden}, st.sampled_from(NAMES), values(SECRET),
              st.dictionaries(st.sampled_from(HARMLESS), inner, max_size=2))), max_leaves=12)
DUMPS = st.builds(
    lambda ascii_only, indent, separators: lambda document: json.dumps(
        document, ensure_ascii=ascii_only, indent=indent, separators=separators).encode("utf-8", "replace"),
    st.booleans(), st.sampled_from([None, 1]), st.sampled_from([None, (",", ":")]))


def escaped(body: bytes) -> bytes:
    """The same JSON with the names' letters as escapes."""
    return re.sub(rb"(?<=[{,])([ \n]*)\"([a-zA-Z_-]{2,})\"(?=:)", lambda found: found[1] + b'"' + b"".join(
        b"\\u%04X" % char if at % 2 else bytes([char]) for at, char in enumerate(found[2])) + b'"', body)


@examples(500)
@given(DOCUMENTS, DUMPS, st.booleans())
def test_no_sensitive_value_survives_and_json_stays_json(document: Any, dumps: Any, disguised: bool) -> None:
    body = escaped(dumps(document)) if disguised else dumps(document)
    left = redacted_body(body, SALT)
    assert b"HIDDEN" not in left
    assert "HIDDEN" not in repr(json.loads(left))


@examples(300)
@given(DOCUMENTS, DUMPS)
def test_a_body_that_was_cut_leaks_nothing(document: Any, dumps: Any) -> None:
    body = dumps(document)
    for length in range(0, len(body), 3):
        assert b"HIDDEN" not in redacted_body(body[:length], SALT)


@examples(200)
@given(DOCUMENTS, DUMPS)
def test_json_inside_a_string_leaks_nothing(document: Any, dumps: Any) -> None:
    body = json.dumps({"payload": dumps(document).decode(), "id": 1}).encode()
    left = redacted_body(body, SALT)
    assert b"HIDDEN" not in left
    assert json.loads(left)["id"] == 1


@examples(200)
@given(st.recursive(OPEN, lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(
    st.sampled_from(HARMLESS), inner, max_size=3)), max_leaves=12), DUMPS)
def test_a_document_without_secrets_says_the_same_afterwards(document: Any, dumps: Any) -> None:
    body = dumps(document)
    assert json.loads(redacted_body(body, SALT)) == json.loads(body)


@pytest.mark.parametrize("name", NAMES)
def test_every_sensitive_name_is_known_with_each_sort_of_value(name: str) -> None:
    for value in ("HIDDEN", 424242, -4.24242e7, {"a": ["HIDDEN", 424242]}, [[424242]], 'HIDDEN \\" "'):
        left = redacted_body(json.dumps({"a": 1, name: value, "b": "c"}).encode(), SALT)
        assert b"HIDDEN" not in left
        assert b"4242" not in left.replace(mark(b"", SALT), b"") or isinstance(value, str)
        assert json.loads(left)["b"] == "c"


@pytest.mark.parametrize("name", HARMLESS)
def test_harmless_names_keep_their_values(name: str) -> None:
    body = json.dumps({name: "kept", "b": 1}, ensure_ascii=False).encode()
    assert redacted_body(body, SALT) == body


@pytest.mark.parametrize(("one", "other", "same"), [
    ('"a"', '"a"', True), ('"a"', '"b"', False), ('"a"', r'"\u0061"', True), (r'"\u00e9"', '"é"', True),
    ('{"a": [1, "x y"]}', '{"a":[1,"x y"]}', True), ('{"a": "x y"}', '{"a": "xy"}', False), ("1", '"1"', False),
])
def test_equal_values_have_equal_marks(one: str, other: str, same: bool) -> None:
    left = [json.loads(redacted_body(f'{{"token": {value}}}'.encode(), SALT))["token"] for value in (one, other)]
    assert (left[0] == left[1]) is same
    assert re.fullmatch("<redacted [0-9a-f]{8}>", left[0])


def test_another_salt_gives_another_mark() -> None:
    assert redacted_body(b'{"pin":"1234"}', SALT) != redacted_body(b'{"pin":"1234"}', b"another")


def test_what_is_no_secret_stays_to_be_compared() -> None:
    body = b'{"token": null, "password": "", "session": true}'
    assert redacted_body(body, SALT) == body


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"])
@pytest.mark.parametrize("text", ['{"password": "HIDDEN"}', "<password>HIDDEN</password>"])
def test_wide_encodings_are_taken_away_as_a_whole(text: str, encoding: str) -> None:
    left = redacted_body(text.encode(encoding), SALT)
    assert re.fullmatch(rb'"<redacted [0-9a-f]{8}>"', left)


@pytest.mark.parametrize("body", [
    b"\0\0\0\1data", b"\0\0\0\0\x05proto", b"\0\0\0 ftypisom", b"\0\0\1\0\1\0 icon",
])
def test_binary_bodies_stay_to_be_compared(body: bytes) -> None:
    assert redacted_body(body, SALT, b"application/octet-stream") == body


@pytest.mark.parametrize(("one", "other"), [
    ('{"user":"u","ttl":5}', '{"ttl":5.0, "user":"\\u0075"}'), ("1.0", "1"), ('{"n":"\\u00e9"}', '{"n":"é"}'),
    ("1e2", "100"),
])
def test_a_secret_written_in_another_way_is_the_same(one: str, other: str) -> None:
    assert len({redacted_body(f'{{"session":{value}}}'.encode(), SALT) for value in (one, other)}) == 1


@pytest.mark.parametrize(("body", "media"), [
    ('{"next": "https://x.example/?a=1&access_token=HIDDEN&b=2"}', ""),
    ('{"form": "user=1&password=HIDDEN"}', ""),
    ('{"db": "postgres://shop:HIDDEN@db.example/shop"}', ""),
    ('{"raw": [["Authorization", "Bearer HIDDEN"]]}', ""),
    ('{"p": "{\\u0022password\\u0022:\\u0022HIDDEN\\u0022}"}', ""),
    ('{"user[token]": "HIDDEN", "auth[a]": "HIDDEN"}', ""),
    ('{"pw": "HIDDEN", "pinCode": "HIDDEN", "otp_code": "HIDDEN", "accessTokenValue": "HIDDEN", "ssh_key": "HIDDEN"}',
     ""),
    ('<a href="/x?id=1&amp;token=HIDDEN">', "text/html"),
    ("see https://u:HIDDEN@h/ and /y?sig=HIDDEN", "text/plain"),
    ("user=1&password=HIDDEN", ""), ('{"password": "HIDDEN"}', "application/x-www-form-urlencoded"),
    ("user[token][0]=HIDDEN&auth[a]=HIDDEN", "application/x-www-form-urlencoded"),
    ("q=%7B%22password%22%3A%22HIDDEN%22%7D", "application/x-www-form-urlencoded"),
    ("X-Amz-Signature=HIDDEN&sig=HIDDEN&SAMLResponse=HIDDEN&client_assertion=HIDDEN&pass=HIDDEN",
     "application/x-www-form-urlencoded"),
])
def test_secrets_are_hidden_where_they_like_to_stand(body: str, media: str) -> None:
    left = redacted_body(body.encode(), SALT, media.encode())
    assert b"HIDDEN" not in left
    if body.startswith("{"):
        json.loads(left)


@pytest.mark.parametrize("header", [
    "X-Auth-Key", "X-Functions-Key", "Ocp-Apim-Subscription-Key", "X-Jwt-Assertion", "X-Amzn-Oidc-Data", "DPoP",
    "X-Signature",
])
def test_headers_that_hold_keys_are_known(header: str) -> None:
    assert b"HIDDEN" not in redacted_headers(((header.encode(), b"HIDDEN"),), SALT)[0][1]


@pytest.mark.parametrize("header", ["Location", "X-Original-URL", "X-Forwarded-Uri", "X-Rewrite-URL"])
def test_headers_that_hold_targets_are_cleaned(header: str) -> None:
    ((_, left),) = redacted_headers(((header.encode(), b"https://u:HIDDEN@h/a?token=HIDDEN&kept=1"),), SALT)
    assert b"HIDDEN" not in left
    assert left.endswith(b"&kept=1")


@pytest.mark.parametrize(("target", "left"), [
    (b"/a?x=1&access_token=HIDDEN&y=2", rb"/a\?x=1&access_token=redacted-\w{8}&y=2"),
    (b"/a?p%61ssword=HIDDEN", rb"/a\?password=redacted-\w{8}"),
    (b"/cb#id_token=HIDDEN&state=x", rb"/cb#id_token=redacted-\w{8}&state=x"),
    (b"/a?user%5Bpassword%5D=HIDDEN", rb"/a\?user%5Bpassword%5D=redacted-\w{8}"),
    (b"/a?token_count=3&token=", rb"/a\?token_count=3&token="),
    (b"/password/x", rb"/password/x"),
    (b"/a?back=/b?token=HIDDEN&y=2", rb"/a\?back=/b\?token=redacted-\w{8}&y=2"),
    (b"/a?token=HIDDEN?secret=HIDDEN&y=2", rb"/a\?token=redacted-\w{8}&y=2"),
    (b"/a?" + b"x" * 9_000 + b"p%61ssword%5B%5D=HIDDEN", rb"/a\?x{9000}p%61ssword%5B%5D=redacted-\w{8}"),
])
def test_parameters_of_targets_are_redacted(target: bytes, left: bytes) -> None:
    assert re.fullmatch(left, redacted_target(target, SALT))


def test_forms_are_redacted() -> None:
    media = b"application/x-www-form-urlencoded; charset=utf-8"
    left = redacted_body(b"user=a&password=HIDDEN%20x&Pin=HIDDEN", SALT, media)
    assert re.fullmatch(rb"user=a&password=redacted-\w{8}&Pin=redacted-\w{8}", left)


@pytest.mark.parametrize("body", [
    {"name": "password", "value": "HIDDEN"}, {"value": "HIDDEN", "name": "password"},
    {"key": "api_key", "type": "text", "value": {"a": ["HIDDEN", {"b": "HIDDEN"}]}, "kept": 1},
    {"headers": [{"name": "Host", "value": "kept"}, {"name": "Authorization", "value": "HIDDEN"}]},
    {"value": {"value": "HIDDEN", "name": "x"}, "name": "pin"}, {"field": "token", "content": 4242, "kept": 1},
    {"log": json.dumps({"name": "password", "value": "HIDDEN"})}, {"name": "Se\u0063ret", "val": "HIDDEN"},
    [{"name": "x", "value": [{"name": "otp", "value": "HIDDEN"}]}],
])
def test_a_value_whose_name_stands_beside_it_is_hidden(body: Any) -> None:
    for dumped in (json.dumps(body), json.dumps(body, indent=2), json.dumps(body).replace("otp", "\\u006ftp")):
        left = redacted_body(dumped.encode(), SALT)
        assert b"HIDDEN" not in left
        assert b"4242" not in left
        assert left.count(b"kept") == dumped.count("kept")
        json.loads(left)


@pytest.mark.parametrize("body", [
    {"name": "password", "n": 1, "value": "HIDDEN"}, {"key": "pin", "value": {"a": ["HIDDEN", {"b": "HIDDEN"}]}},
])
def test_a_named_value_that_was_cut_is_hidden(body: Any) -> None:
    dumped = json.dumps(body)
    for length in range(len(dumped)):
        assert b"HIDDEN" not in redacted_body(dumped[:length].encode(), SALT)


@examples(300)
@given(st.recursive(OPEN, lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(
    st.sampled_from(["name", "value", "key", "data", *HARMLESS]), inner, max_size=4)), max_leaves=12), DUMPS)
def test_a_document_that_names_no_secret_says_the_same_afterwards(document: Any, dumps: Any) -> None:
    body = dumps(document)
    assert json.loads(redacted_body(body, SALT)) == json.loads(body)


@examples(300)
@given(DOCUMENTS, st.sampled_from(NAMES), values(SECRET), st.booleans(), DUMPS)
def test_a_named_secret_is_hidden_wherever_it_stands(
        around: Any, name: str, hidden: Any, value_first: bool, dumps: Any) -> None:
    pair = {"value": hidden, "name": name} if value_first else {"name": name, "n": 1, "value": hidden}
    left = redacted_body(dumps({"a": around, "b": [pair]}), SALT)
    assert b"HIDDEN" not in left
    assert "HIDDEN" not in repr(json.loads(left))


@pytest.mark.parametrize(("markup", "left"), [
    ("<a><password>HIDDEN</password><b>kept</b></a>", r"<a><password>redacted-\w{8}</password><b>kept</b></a>"),
    ('<s:Header><wsse:Password Type="x"><![CDATA[HIDDEN]]></wsse:Password></s:Header>',
     r'<s:Header><wsse:Password Type="x">redacted-\w{8}</wsse:Password></s:Header>'),
    ("<Credentials><Id>HIDDEN</Id></Credentials>", r"<Credentials>redacted-\w{8}</Credentials>"),
    ("<user token='HIDDEN' id='7'/>", r"""<user token="redacted-\w{8}" id='7'/>"""),
    ('<input type="hidden" name="csrf_token" value="HIDDEN">',
     r'<input type="hidden" name="csrf_token" value="redacted-\w{8}">'),
    ("<input value=HIDDEN name=csrf_token><p>kept", r'<input value="redacted-\w{8}" name=csrf_token><p>kept'),
    ('<meta name="csrf-token" content="HIDDEN" />', r'<meta name="csrf-token" content="redacted-\w{8}" />'),
    ('<input type="password" value="HIDDEN">', r'<input type="password" value="redacted-\w{8}">'),
    ("<dict><key>password</key>\n<string>HIDDEN</string></dict>",
     r"<dict><key>password</key>\n<string>redacted-\w{8}</string></dict>"),
    ("<e><name> api-key </name><value a='b'>HIDDEN</value></e><e><name>x</name><value>kept</value></e>",
     r"<e><name> api-key </name><value a='b'>redacted-\w{8}</value></e><e><name>x</name><value>kept</value></e>"),
    ("<token>HIDDEN", r"<token>redacted-\w{8}"), ("<token/><a>kept</a>", "<token/><a>kept</a>"),
    ("<p>your password is safe</p><tokens_left>3</tokens_left>",
     "<p>your password is safe</p><tokens_left>3</tokens_left>"),
    ('<script>var x = {"session_id": "HIDDEN"}</script>',
     r'<script>var x = {"session_id": "<redacted \w{8}>"}</script>'),
])
def test_secrets_in_markup_are_hidden(markup: str, left: str) -> None:
    for media in (b"text/html; charset=utf-8", b"application/soap+xml", b""):
        assert re.fullmatch(left, redacted_body(markup.encode(), SALT, media).decode())


PAGE = b"<html>" + b"".join(b'<a id="%d" class="item" href="/x?y=%d">kept</a>\n' % (at, at) for at in range(3_000))


def test_a_large_page_is_cleaned_where_its_secrets_are() -> None:
    assert redacted_within(PAGE, SALT, b"text/html", 1_000) == PAGE
    left = redacted_within(PAGE + b'<input name="csrf" type="hidden"><meta name="csrf-token" content="HIDDEN">', SALT,
                           b"text/html", 1_000)
    assert left is not None
    assert b"HIDDEN" not in left
    assert left.startswith(PAGE)
    assert redacted_within(PAGE + b"<token>1</token>" * 200, SALT, b"text/html", 1_000) is None


def test_the_parts_of_a_multipart_form_are_cleaned_by_their_names_and_types() -> None:
    def part(fields: str, content: str) -> str:
        return f"--b0\r\nContent-Disposition: form-data; {fields}\r\n\r\n{content}\r\n"

    body = (part('name="user"', "kept") + part('name="password"', "HIDDEN\r\nHIDDEN") + part("name=user[pin]", "HIDDEN")
            + part('name="doc"\r\nContent-Type: application/json', '{"token": "HIDDEN", "a": "kept"}')
            + part('name="empty_token"', "") + "--b0--\r\n").encode()
    left = redacted_body(body, SALT, b'Multipart/Form-Data; boundary="b0"')
    assert b"HIDDEN" not in left
    assert left.count(b"kept") == 2
    assert left.count(b"--b0\r\n") == 5
    assert left.endswith(b"\r\n--b0--\r\n")
    for length in range(len(body)):
        assert b"HIDDEN" not in redacted_body(body[:length], SALT, b"multipart/form-data; boundary=b0")
    assert b"HIDDEN" not in redacted_body(body, SALT, b"multipart/form-data")


def test_lines_of_text_that_name_a_secret_lose_it() -> None:
    text = (b"user: a\npassword: HIDDEN HIDDEN\n  api_key=HIDDEN\r\n# token = HIDDEN\n'secret': HIDDEN\n"
            b"the token is kept")
    for media in (b"text/plain", b"application/yaml", b"text/x-java-properties"):
        left = redacted_body(text, SALT, media)
        assert b"HIDDEN" not in left
        assert left.count(b"\n") == text.count(b"\n")
        assert b"user: a\n" in left
        assert left.endswith(b"\nthe token is kept")


@pytest.mark.parametrize("text", [
    b"<" * 200_000, b"<a " * 60_000, b'<a b="' * 40_000, b"<token>" * 30_000, b"<token " * 30_000,
    b"<name>token" * 20_000, b"<token a=" + b"'" * 100_000, b'<p name="token"' * 20_000, b"token: " * 30_000,
    b"token:\n" * 30_000, b"\t" * 100_000 + b"token: x", b'{"value":' * 20_000 + b'{"name":"token"',
    b'{"name":"token","value":[' * 10_000, b"<p token=>" + b"token " * 30_000,
    b'--b\r\nname="token"\r\n\r\n' * 10_000, b'\\"name\\": \\"token\\"' * 20_000, b'"' + b'\\"name' * 50_000,
])
@pytest.mark.parametrize("media", [b"text/html", b"text/plain", b"multipart/form-data; boundary=b", b""])
def test_hostile_text_is_taken_in_linear_time(text: bytes, media: bytes) -> None:
    redacted_body(text, SALT, media)


def test_headers_are_redacted_by_name() -> None:
    fields = ((b"Authorization", b"Bearer HIDDEN"), (b"X-API-Key", b"HIDDEN"), (b"X-My-Secret-2", b"HIDDEN"),
              (b"Cookie", b"a=HIDDEN; sid=HIDDEN; HIDDEN"), (b"Set-Cookie", b"sid=HIDDEN; Path=/; HttpOnly"),
              (b"Location", b"https://h.example/cb?token=HIDDEN&x=1"), (b"Proxy-Authorization", b"HIDDEN"),
              (b"Content-Type", b"text/plain"), (b"WWW-Authenticate", b"Basic realm=x"))
    left = redacted_headers(fields, SALT)
    assert b"HIDDEN" not in b"".join(value for _, value in left)
    assert [name for name, _ in left] == [name for name, _ in fields]
    assert left[3][1].startswith(b"a=<redacted ")
    assert left[4][1].endswith(b"; Path=/; HttpOnly")
    assert left[7:] == fields[7:]


@pytest.mark.parametrize("body", [b'"' * 200_000, b"\\" * 200_000, b'{"password":' * 20_000, b'"a" ' * 100_000,
                                  b'{"token":"' + b"\\" * 200_000, b'"password": [' * 20_000, b'"' + b" " * 200_000,
                                  b"[" * 200_000, b'"\\u00' * 50_000, b'"pass' * 50_000 + b'":'])
def test_hostile_bodies_are_taken_in_linear_time(body: bytes) -> None:
    redacted_body(body, SALT)
    redacted_target(b"/?" + body, SALT)


@pytest.mark.parametrize("text", [b"a=1&" + b"%" * 200_000, b"a=1&" + b"%41" * 60_000,
                                  b"secret" * 30_000 + b"%5D" * 30_000,
                                  b"=" + b"token]" * 30_000, b"a=&" * 60_000, b"secret" * 40_000])
def test_hostile_parameters_are_taken_in_linear_time(text: bytes) -> None:
    redacted_target(text, SALT)
    redacted_body(text, SALT, b"application/x-www-form-urlencoded")


MEMBERS = b"[" + b",".join([b'{"id": 1, "name": "x"}'] * 3_000) + b"]"


def test_a_large_body_of_harmless_names_costs_no_steps() -> None:
    assert redacted_within(MEMBERS, SALT, b"", 100) == MEMBERS


@pytest.mark.parametrize(("body", "media"), [
    (MEMBERS[:-1] + b',{"token": 1}]', b""),
    (b"{" + b",".join(b'"new-%d": 1' % number for number in range(3_000)) + b"}", b""),
    (b'"":' * 60_000, b""),
    (b"a=1&" * 3_000, b"application/x-www-form-urlencoded"),
])
def test_a_body_that_would_take_too_long_is_not_cleaned(body: bytes, media: bytes) -> None:
    assert redacted_within(body, SALT, media, 1_000) is None


def test_a_body_within_the_bound_is_cleaned() -> None:
    assert redacted_within(b'{"pin":1}', SALT, b"", 10) == redacted_body(b'{"pin":1}', SALT)


@pytest.mark.parametrize("before", [
    b'<input type="text" name="a" value="1" content="2" data="3">', b"value: 1\ntext: 2\n",
    b'{"href": "/list?data=1&value=2"}',
])
@pytest.mark.parametrize("media", [b"text/html", b"text/plain", b"application/json"])
def test_no_page_teaches_that_a_value_is_harmless_whatever_its_name_is(before: bytes, media: bytes) -> None:
    redacted_body(before, SALT, media)
    assert b"HIDDEN" not in redacted_body(b'{"name": "password", "value": "HIDDEN"}', SALT)


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
@pytest.mark.parametrize(("text", "media"), [
    ('\n{"password": "HIDDEN"}', b""), (' \t[{"pin": "HIDDEN"}]', b""), ("password: HIDDEN", b"text/plain"),
    ("HIDDEN", b"application/octet-stream; charset=utf-16"),
])
def test_wide_text_is_known_behind_blanks_and_by_its_type(text: str, media: bytes, encoding: str) -> None:
    assert re.fullmatch(rb'"<redacted [0-9a-f]{8}>"', redacted_body(text.encode(encoding), SALT, media))


def test_names_of_any_length_are_not_remembered() -> None:
    tracemalloc.start()
    try:
        for number in range(200):
            redacted_body(b"<%b%d>x</a>" % (b"n" * 100_000, number), SALT, b"text/xml")
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 2_000_000


@pytest.mark.parametrize("body", [
    b"<password " + b"password " * 7_000, b'<a b="' + b">token" * 10_000,
    b"<token/>x" + b" " * 60_000 + b"token " * 600, b"<p>" + b"token<" * 9_000, b"<name>" + b" " * 60_000 + b"token",
])
def test_markup_without_ends_takes_no_steps_for_each_name_in_it(body: bytes) -> None:
    """Quadratic time would be minutes for this: a hundred times over."""
    for _ in range(20):
        redacted_within(body * 3, SALT, b"text/xml", 5_000)
