# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""What the engine logs, on /rosout."""
import logging

PACKAGE = logging.getLogger('nanovlm_ros')


class ToRos(logging.Handler):
    """Hands the records of the package's ROS-free modules to a node's logger until closed."""

    def __init__(self, logger):
        super().__init__(logging.INFO)
        self._logger = logger
        PACKAGE.addHandler(self)
        PACKAGE.setLevel(logging.INFO)

    def close(self) -> None:
        """Take no more."""
        PACKAGE.removeHandler(self)
        super().close()

    def emit(self, record: logging.LogRecord) -> None:
        """Log one record; rclpy wants a line of code for each severity."""
        text = self.format(record)
        if record.levelno >= logging.ERROR:
            self._logger.error(text)
        elif record.levelno >= logging.WARNING:
            self._logger.warning(text)
        else:
            self._logger.info(text)
