"""Who a container runs as."""

import os
from pathlib import Path

import pytest

from homeport.node.runtime.contract import RuntimeFailure, Security
from homeport.node.runtime.users import Accounts, IdMap, User, accounts_beneath, resolve

ACCOUNTS = Accounts(
    passwd=[["root", "x", "0", "0", "", "/", ""], ["app", "x", "100", "101", "", "/", ""]],
    group=[["root", "x", "0", ""], ["app", "x", "101", ""], ["extra", "x", "102", "other,app"]],
)


@pytest.mark.parametrize(
    ("security", "image_user", "user"),
    [
        (Security(), "", User(0, 0, (0,))),
        (Security(), "app", User(100, 101, (101, 102))),
        (Security(), "100", User(100, 101, (101, 102))),
        (Security(), "7", User(7, 0, (0,))),
        (Security(), "app:extra", User(100, 102, (102,))),
        (Security(), "7:8", User(7, 8, (8,))),
        (Security(uid=100), "", User(100, 101, (101, 102))),
        (Security(uid=7), "app:extra", User(7, 0, (0,))),
        (Security(uid=100, gid=5, groups=(9, 5)), "app", User(100, 5, (5, 9, 102))),
        (Security(gid=5), "app", User(100, 5, (5, 102))),
    ],
)
def test_the_pods_numbers_win_then_the_images_user(security: Security, image_user: str, user: User) -> None:
    assert resolve(security, image_user, ACCOUNTS) == user


@pytest.mark.parametrize(("image_user", "what"), [("nobody", "user nobody"), ("app:none", "group none")])
def test_a_name_the_image_does_not_know_is_an_error(image_user: str, what: str) -> None:
    with pytest.raises(RuntimeFailure, match=f"unable to find {what}: no matching entries"):
        resolve(Security(), image_user, ACCOUNTS)


def test_account_files_are_read_inside_the_root_only(tmp_path: Path) -> None:
    (tmp_path / "root/etc").mkdir(parents=True)
    (tmp_path / "passwd").write_text("outside:x:1:1::/:\n")
    (tmp_path / "root/etc/passwd").symlink_to(tmp_path / "passwd")
    (tmp_path / "root/etc/group").write_text("# comment\nbad\nok:x:5:a,b\nword:x:five:\n")
    fd = os.open(tmp_path / "root", os.O_PATH)
    try:
        accounts = accounts_beneath(fd)
    finally:
        os.close(fd)
    assert accounts.passwd == ()
    assert accounts.group == [["ok", "x", "5", "a,b"]]


def test_ids_that_do_not_exist_here_are_refused() -> None:
    single = IdMap(((0, 1),), ((0, 1),))
    ranges = IdMap(((0, 1), (1, 65536)), ((0, 1), (1, 65536)))
    assert single.require(User(0, 0, (0, 5))) == User(0, 0, ())
    with pytest.raises(RuntimeFailure, match="user 1000 does not exist on this node"):
        single.require(User(1000, 0))
    with pytest.raises(RuntimeFailure, match="group 5 does not exist on this node"):
        single.require(User(0, 5))
    assert ranges.require(User(1000, 5, (5, 70000))) == User(1000, 5, (5,))
