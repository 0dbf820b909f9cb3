"""Keys, the admin's key, and the addresses that may be listened on."""

import pytest

from proxy.errors import ApiError, ConfigError
from proxy.server.auth import Keyring, admin_keyring, authenticate_admin, check_listen, is_loopback
from proxy.server.policy import AccessKey, AccessPolicy

KEYRING = Keyring([AccessKey("alice", "sk-alice"), AccessKey("bob", "sk-bob"), AccessKey("zoë", "sk-zoë")])

GOOD = {
    "the scheme as usual": ("Bearer sk-alice", "alice"),
    "the scheme in lower case": ("bearer sk-alice", "alice"),
    "the scheme in capitals": ("BEARER sk-bob", "bob"),
    "white space around": ("  Bearer   sk-bob  ", "bob"),
}


@pytest.mark.parametrize(("header", "name"), GOOD.values(), ids=GOOD.keys())
def test_a_key_has_a_name(header: str, name: str) -> None:
    for _ in range(2):  # the second time it is remembered
        assert KEYRING.authenticate({"authorization": header}) == name


BAD = {
    "no header": {},
    "an empty header": {"authorization": ""},
    "the scheme alone": {"authorization": "Bearer"},
    "the scheme and a space": {"authorization": "Bearer "},
    "another key": {"authorization": "Bearer sk-mallory"},
    "a prefix of a key": {"authorization": "Bearer sk-alic"},
    "a key and more": {"authorization": "Bearer sk-alice2"},
    "a key in capitals": {"authorization": "Bearer SK-ALICE"},
    "two keys": {"authorization": "Bearer sk-alice, sk-bob"},
    "no scheme": {"authorization": "sk-alice"},
    "another scheme": {"authorization": "Basic sk-alice"},
    "the key's name": {"authorization": "Bearer alice"},
    "another header": {"x-api-key": "sk-alice"},
    "odd bytes": {"authorization": "Bearer \xff\xfe\x00"},
}


@pytest.mark.parametrize("headers", BAD.values(), ids=BAD.keys())
def test_without_a_good_key_nobody_passes(headers: dict[str, str]) -> None:
    for _ in range(2):
        with pytest.raises(ApiError) as caught:
            KEYRING.authenticate(headers)
        error = caught.value
        assert (error.status, error.code) == (401, "invalid_api_key")
        assert error.headers == (("www-authenticate", "Bearer"),)
        assert "sk-" not in error.message


def test_without_keys_everybody_passes_unnamed() -> None:
    assert Keyring([]).authenticate({"authorization": "Bearer whatever"}) == ""


def test_what_is_remembered_is_bounded() -> None:
    keyring = Keyring([AccessKey("alice", "sk-alice")])
    for spaces in range(3000):
        assert keyring.authenticate({"authorization": f"Bearer {' ' * spaces}sk-alice"}) == "alice"
    assert len(keyring._seen) <= 1024


def test_no_key_stands_in_a_repr() -> None:
    policy = AccessPolicy(keys=(AccessKey("alice", "sk-alice"),), admin_key="sk-admin")
    assert "sk-" not in repr(policy) + repr(policy.keys) + str(policy)
    assert "alice" in repr(policy)


def test_a_set_admin_key_is_used() -> None:
    keyring, made = admin_keyring(AccessPolicy(admin_key="sk-admin"))
    assert made is None
    authenticate_admin(keyring, {"x-admin-key": "sk-admin"})
    authenticate_admin(keyring, {"authorization": "Bearer sk-admin"})


@pytest.mark.parametrize("unset", [None, ""])
def test_an_unset_admin_key_is_made_anew_each_time(unset: str | None) -> None:
    keyring, made = admin_keyring(AccessPolicy(admin_key=unset))
    _, other = admin_keyring(AccessPolicy())
    assert made is not None and len(made) >= 32 and made != other
    authenticate_admin(keyring, {"x-admin-key": made})


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"x-admin-key": ""},
        {"x-admin-key": "sk-alice"},
        {"authorization": "Bearer sk-alice"},
        {"x-admin-key": "wrong", "authorization": "Bearer sk-admin"},
    ],
    ids=[
        "nothing",
        "an empty key",
        "a caller's key",
        "a caller's bearer key",
        "a wrong key beside a good one",
    ],
)
def test_the_admin_api_wants_its_own_key(headers: dict[str, str]) -> None:
    keyring, _ = admin_keyring(AccessPolicy(keys=(AccessKey("alice", "sk-alice"),), admin_key="sk-admin"))
    with pytest.raises(ApiError) as caught:
        authenticate_admin(keyring, headers)
    assert caught.value.status == 401


ADDRESSES = {
    "127.0.0.1": True,
    "127.8.8.8": True,
    "localhost": True,
    "LocalHost": True,
    "::1": True,
    "[::1]": True,
    "::ffff:127.0.0.1": True,
    "0.0.0.0": False,
    "::": False,
    "": False,
    "10.0.0.1": False,
    "192.168.1.5": False,
    "8.8.8.8": False,
    "::ffff:8.8.8.8": False,
    "localhost.example": False,
    "127.0.0.1.example": False,
    "example.com": False,
}


@pytest.mark.parametrize(("host", "loopback"), ADDRESSES.items(), ids=[repr(host) for host in ADDRESSES])
def test_only_loopback_is_served_without_keys(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback
    if loopback:
        check_listen(host, AccessPolicy())
    else:
        with pytest.raises(ConfigError, match=r"keys: none is set"):
            check_listen(host, AccessPolicy())
    check_listen(host, AccessPolicy(keys=(AccessKey("alice", "sk-alice"),)))
