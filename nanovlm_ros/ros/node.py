# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The lifecycle node `nanovlm`: configure loads the model, activate opens the servers."""
import signal
import sys
import time
from functools import partial
from typing import Callable, Optional

import rclpy
from rclpy.clock import Clock, ClockType, JumpThreshold
from rclpy.duration import Duration
from rclpy.exceptions import InvalidParameterTypeException, ParameterException
from rclpy.executors import SingleThreadedExecutor
from rclpy.lifecycle import LifecycleNode, TransitionCallbackReturn

from nanovlm_ros.engine.executor import MlcExecutor
from nanovlm_ros.engine.loader import load
from nanovlm_ros.ros.cameras import Cameras
from nanovlm_ros.ros.events import Events
from nanovlm_ros.ros.gateway import Gateway
from nanovlm_ros.ros.health import Health, Watchdog
from nanovlm_ros.ros.live import LiveLoop
from nanovlm_ros.ros.logs import ToRos
from nanovlm_ros.ros.overlay import Overlay
from nanovlm_ros.ros.parameters import Parameters
from nanovlm_ros.ros.resolver import Resolver
from nanovlm_ros.ros.servers import Servers
from nanovlm_ros.ros.windows import Windows, check_windows
from nanovlm_ros.types import NanoVlmError

LOADING = (  # parameters that go to `engine.loader.load`
    'revision', 'device', 'quantization', 'activations', 'context_length', 'max_sequences',
    'kv_cache_tokens', 'chat_template', 'vision_scaling', 'vision_weights', 'trust_pickle',
    'mlc_weights')
PROGRESS = 30.0     # s between two lines about a download or a conversion
LAST_REPLIES = 1.0  # s for replies to go out after the executor has ended
LAST_RESULTS = 0.2  # s more for the results of actions


class Runtime:
    """Everything that exists only while the node is configured."""

    def __init__(self, node, parameters: Parameters, executor: MlcExecutor, health: Health,
                 gateway: Gateway):
        self.parameters, self.executor = parameters, executor
        self.model_name = executor.model.name
        self.context_length = executor.model.context_length
        self.device = executor.model.device
        # Before anything joins the graph.
        check_windows(parameters, executor.model, node.get_logger())
        self.cameras = Cameras(node, parameters['cameras'], parameters['compressed'])
        self.windows = Windows(node, parameters, self.cameras, executor)
        self.gateway = gateway
        self._resolver = Resolver(node, parameters, self.cameras, self.windows)
        self.events = Events(node, parameters['event.rules'])
        self.overlay = Overlay(node, self.cameras.first, parameters['max_image_pixels'])
        self.gateway.on_answer = self.overlay.on_answer
        self.watchdog = Watchdog(executor, health, parameters['watchdog_timeout'],
                                 node.get_logger())
        self.live: Optional[LiveLoop] = None
        self._missed_before = 0

    @property
    def live_missed(self) -> int:
        """Ticks of the live loop that found the last one unfinished."""
        return self._missed_before + (self.live.missed if self.live is not None else 0)

    def activate(self, node) -> None:
        """Take requests and start the live loop."""
        self.gateway.open(self.executor, self._resolver)
        self.windows.activate()
        self.live = LiveLoop(
            node, self.parameters, self._resolver, self.gateway, self.events)

    def deactivate(self) -> None:
        """Take no more requests, cancel those in flight and the live loop's."""
        self._missed_before = self.live_missed
        self.gateway.close()
        self.windows.deactivate()
        if self.live is not None:
            self.live.destroy()
        self.live = None

    def forget_images(self) -> None:
        """Forget every image and what was seen: their time did not happen."""
        for camera in self.cameras:
            camera.forget()
        self.forget_seen()

    def forget_seen(self) -> None:
        """Forget what the windows hold and what was seen."""
        self.windows.clear()
        self.events.reset()

    def close(self) -> bool:
        """Free the model and leave the graph; False if the executor's thread did not end."""
        self.watchdog.stop()
        joined = self.executor.shutdown()
        self.overlay.destroy()
        self.events.destroy()
        self.cameras.destroy()
        return joined


class NanoVlmNode(LifecycleNode):
    """See docs/interfaces.md. `load_model` takes the loader's place in tests."""

    def __init__(self, load_model: Callable = load, **options):
        # rclpy destroys a node that failed half-way, too.
        self._jumps = self._logs = self.servers = None
        super().__init__('nanovlm', **options)
        self._logs = ToRos(self.get_logger())
        self._load_model = load_model
        self.parameters = Parameters(self)
        self.health = Health(self)
        self.runtime: Optional[Runtime] = None
        self.gateway = Gateway(self)
        self.servers = Servers(self, self.parameters, self.gateway, self._active_executor,
                               self._forget_seen)
        self._progress = ('', 0.0)  # stage of loading, and when it was told
        self.failed = False  # autostart did not get to the end
        self.add_post_set_parameters_callback(self._on_parameters_set)
        self._jumps = self.get_clock().create_jump_callback(
            JumpThreshold(min_forward=None, min_backward=Duration(nanoseconds=-1),
                          on_clock_change=False), post_callback=self._on_jump_back)
        self._start_timer = self.create_timer(
            0.0, self._autostart, clock=Clock(clock_type=ClockType.STEADY_TIME)
        ) if self.parameters['autostart'] else None
        self.health.change('unconfigured')

    def on_configure(self, state) -> TransitionCallbackReturn:
        """Load the model, subscribe to the cameras."""
        return self._transition('configure', self._configure)

    def on_activate(self, state) -> TransitionCallbackReturn:
        """Take requests; until then they are answered with NOT_READY."""
        return self._transition('activate', self._activate)

    def on_deactivate(self, state) -> TransitionCallbackReturn:
        """Take no more requests; those in flight end as canceled."""
        return self._transition('deactivate', self._deactivate)

    def on_cleanup(self, state) -> TransitionCallbackReturn:
        """Free everything."""
        return self._transition('cleanup', self._cleanup)

    def on_shutdown(self, state) -> TransitionCallbackReturn:
        """Free everything, from any state."""
        return self._transition('shutdown', self._cleanup)

    def _transition(self, name: str, work: Callable[[], str]) -> TransitionCallbackReturn:
        # The lifecycle machinery swallows exceptions: say what happened here.
        try:
            self.health.change(work())
        except NanoVlmError as error:
            self.get_logger().error(f'Could not {name}: {error.message}')
            return TransitionCallbackReturn.FAILURE
        except Exception as error:
            import traceback

            self.get_logger().error(f'Could not {name}: {error}\n{traceback.format_exc()}')
            return TransitionCallbackReturn.FAILURE
        return TransitionCallbackReturn.SUCCESS

    def _configure(self) -> str:
        began, p = time.monotonic(), self.parameters
        executor = MlcExecutor(
            partial(self._load_model, p['model'], progress=self._log_progress,
                    **{name: p[name] for name in LOADING}),
            queue_size=p['queue_size'], max_sequences=p['max_sequences'],
            prefill_chunk=p['prefill_chunk'])
        executor.start()
        try:
            self.runtime = self.health.runtime = Runtime(
                self, p, executor, self.health, self.gateway)
        except BaseException:
            executor.shutdown()
            raise
        p.locked = True
        self.get_logger().info(
            f'Loaded {self.runtime.model_name} in {time.monotonic() - began:.1f} s: '
            f'on {self.runtime.device}, {p["quantization"]}, {self.runtime.context_length} tokens '
            'of context; images from '
            + ', '.join(camera.topic for camera in self.runtime.cameras) + '.')
        return 'inactive'

    def _activate(self) -> str:
        self.runtime.activate(self)
        return 'active'

    def _deactivate(self) -> str:
        self.runtime.deactivate()
        return 'inactive'

    def _cleanup(self) -> str:
        runtime, self.runtime, self.health.runtime = self.runtime, None, None
        self.parameters.locked = False
        if runtime is not None:
            runtime.deactivate()
            if not runtime.close():
                self.get_logger().error('The inference thread did not end in time.')
        return 'unconfigured'

    def _autostart(self) -> None:
        self.destroy_timer(self._start_timer)
        if (self.trigger_configure() != TransitionCallbackReturn.SUCCESS
                or self.trigger_activate() != TransitionCallbackReturn.SUCCESS):
            self.failed = True

    def _log_progress(self, stage: str, done: int, total: int) -> None:
        before, said = self._progress
        if stage != before or done == total or time.monotonic() - said > PROGRESS:
            self._progress = stage, time.monotonic()
            self.get_logger().info(f'{stage}: {100 * done / max(total, 1):.0f} %')

    def _on_parameters_set(self, parameters) -> None:
        if self.runtime is not None and self.runtime.live is not None:
            self.runtime.live.apply()

    def _on_jump_back(self, jump) -> None:
        self.get_logger().info('The clock jumped back; the images so far are forgotten.')
        if self.runtime is not None:
            self.runtime.forget_images()

    def _active_executor(self) -> Optional[MlcExecutor]:
        active = self.runtime is not None and self.runtime.live is not None
        return self.runtime.executor if active else None

    def _forget_seen(self) -> None:
        if self.runtime is not None:
            self.runtime.forget_seen()

    def finish(self) -> None:
        """End every request and let the replies go out, while the node still spins."""
        if self.runtime is not None:
            self.runtime.executor.shutdown()
        self._cleanup()
        owing = self.servers.pending
        end = time.monotonic() + LAST_REPLIES
        while self.servers.pending and time.monotonic() < end:
            self.executor.spin_once(timeout_sec=0.05)
        # An action's result goes out some turns after its callback has returned.
        end = time.monotonic() + LAST_RESULTS
        while owing and time.monotonic() < end:
            self.executor.spin_once(timeout_sec=0.02)

    def destroy_node(self) -> None:
        """Leave the graph."""
        if self._jumps is not None:
            self._jumps.unregister()
        if self._logs is not None:
            self._logs.close()
        if self.servers is not None:
            self.servers.destroy()
        super().destroy_node()


def main(arguments=None) -> int:
    """Run the node until SIGINT or SIGTERM; return the exit code."""
    from rclpy.signals import SignalHandlerOptions

    # rclpy's own handlers end the context at once: no request would get its reply.
    rclpy.init(args=arguments, signal_handler_options=SignalHandlerOptions.NO)
    stopping = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: stopping.append(number))
    try:
        node = NanoVlmNode()
    except (ValueError, ParameterException, InvalidParameterTypeException) as error:
        print(f'nanovlm: {error}', file=sys.stderr)
        return 2
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    while not stopping and not node.failed:
        try:
            executor.spin_once(timeout_sec=0.25)  # Python sees a signal between two calls
        except Exception as error:  # one callback's fault must not end the node
            node.get_logger().error(f'A callback failed: {error!r}')
    node.finish()
    failed = node.failed
    node.destroy_node()
    rclpy.shutdown()
    return int(failed)


if __name__ == '__main__':
    sys.exit(main())
