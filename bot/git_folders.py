"""The temporary folders that a killed bot left behind."""

import os
import shutil
import stat
import tempfile
import time
from datetime import timedelta
from pathlib import Path

import structlog

from bot.git import FOLDER_PREFIX

log = structlog.get_logger(__name__)

LEFT_AFTER = timedelta(minutes=10)
"""A living bot, perhaps another one on this host, uses its folder for seconds."""


def remove_left_folders() -> None:
    """Remove what git was fetching when an earlier process of this user was killed."""
    before = time.time() - LEFT_AFTER.total_seconds()
    removed = 0
    for path in Path(tempfile.gettempdir()).glob(f"{FOLDER_PREFIX}*"):
        try:
            found = path.lstat()
            if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
                continue
            if found.st_mtime < before:
                shutil.rmtree(path)
                removed += 1
        except OSError as error:
            log.warning("git_folder_not_removed", folder=path.name, why=error.strerror)
    if removed:
        log.info("git_folders_removed", count=removed)
