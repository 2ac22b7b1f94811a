# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""`make demo`: node, camera and planner as three processes that meet over DDS.

A bag plays as the camera; the questions of truth.json are asked while the scene
they are about is in view. Ends with one line of JSON, exit code 1 under 90 %.
"""
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

from demo.live import RATE, RULES, watch

HERE = Path(__file__).parent
BAG, TRUTH, SHEET = HERE / 'bag', HERE / 'truth.json', HERE / 'answers.png'
MARGIN = 0.3      # s to stay away from the edges of a scene
ROUNDS = 3        # of the bag, at most; a machine that keeps up needs one
START_LIMIT = 180  # s; the first start compiles the model
PASS = 0.9
PARAMETERS = {
    'compressed': 'true', 'window.enabled': 'true', 'window.frames': 4, 'window.period': 0.8,
    'live.rate': RATE, 'event.rules': json.dumps([RULES])}

# Before rclpy is loaded, for this process and its children: a domain of our own, this
# machine only, and the transport that lets whole images through.
os.environ.setdefault('ROS_DOMAIN_ID', str(1 + os.getpid() % 100))
os.environ['ROS_AUTOMATIC_DISCOVERY_RANGE'] = 'LOCALHOST'
os.environ.setdefault('FASTDDS_BUILTIN_TRANSPORTS', 'LARGE_DATA?max_msg_size=2MB&sockets_size=2MB')


def start(*command: str, **options) -> subprocess.Popen:
    """Start a child whose Ctrl-C is ours to pass on."""
    return subprocess.Popen([sys.executable, *command], start_new_session=True, **options)


def stop(child: subprocess.Popen) -> None:
    """End a child as a launch file would; kill it if it does not go."""
    child.send_signal(signal.SIGINT)
    try:
        child.wait(10)
    except subprocess.TimeoutExpired:
        child.kill()


def make_query(question: dict):
    """Return the Query message of a question."""
    from nanovlm_ros.msg import Query

    schema = question.get('json_schema')
    source = Query.WINDOW if question['kind'] == 'window' else Query.LATEST
    return Query(prompt=question['prompt'], image_source=source,
                 json_schema=json.dumps(schema) if isinstance(schema, dict) else schema or '')


def put(client, question: dict):
    """Ask one question, streaming free text; return (answer, ns when it was there)."""
    print(f'  {question["prompt"]}' + (' [JSON]' if question.get('json_schema') else ''))
    print('    ', end='', flush=True)
    if question['kind'] == 'free':
        answer = client.generate(make_query(question), lambda t: print(t, end='', flush=True))
    else:
        answer = client.ask(make_query(question))
        print(answer.text or answer.error_message, end='')
    return answer, client.now()


def ask_all(client, begin: int, period: float, segments: list):
    """Ask every question while its scene is in view; yield (question, answer, ns of arrival).

    What a slow machine asks too late for one scene, it asks again in the next round.
    """
    waiting = [list(segment['questions']) for segment in segments]
    for turn in range(ROUNDS):
        last = turn == ROUNDS - 1
        for segment, questions in zip(segments, waiting):
            start, end = (begin / 1e9 + turn * period + segment[key] for key in ('t0', 't1'))
            if not questions or (client.now() / 1e9 > end - MARGIN and not last):
                continue
            time.sleep(max(0.0, start + MARGIN - client.now() / 1e9))
            print(f'\n{segment["t0"]:5.1f} s')
            for question in list(questions):
                answer, arrived = put(client, question)
                if not last and answer.images and not in_time(
                        question, answer, begin / 1e9 + turn * period, start, end):
                    print('\n    too late for this scene: asked again in the next round')
                    continue
                questions.remove(question)
                yield question, answer, arrived


def in_time(question: dict, answer, begin: float, start: float, end: float) -> bool:
    """Tell whether an answer is about what its question is about; times in s."""
    newest = stamp_ns(answer) / 1e9
    if question['kind'] != 'window':
        return start <= newest < end
    oldest = stamp_ns(answer.images[0]) / 1e9
    return (oldest <= begin + question['first_before']
            and begin + question['last_after'] <= newest < end)


def stamp_ns(stamped) -> int:
    """Return the stamp of an image, or of the newest image of an answer, in ns."""
    return stamped.header.stamp.sec * 1_000_000_000 + stamped.header.stamp.nanosec


def report(asked: list, window_correct: int, live_hz: float) -> dict:
    """Return the figures of the last line."""
    return {
        'asked': len(asked),
        'correct': sum(right for right, _, _ in asked),
        'window_correct': window_correct,
        'json_valid': sum(answer.json_status == answer.VALID for _, answer, _ in asked),
        'first_token_ms_p50': _p50(answer.timings.first_token for _, answer, _ in asked),
        'answer_ms_p50': _p50(answer.timings.total for _, answer, _ in asked),
        'camera_to_answer_ms_p50': _p50(seconds for _, _, seconds in asked),
        'live_hz': round(live_hz, 1),
    }


def _p50(seconds) -> float:
    return round(median(seconds) * 1000, 1)


def run(client, node: subprocess.Popen, player: subprocess.Popen, bag: dict) -> int:
    """Ask everything, write the sheet, print the result; return the exit code."""
    from demo.judge import is_right
    from demo.player import period_ns
    from demo.sheet import Tile, save_sheet
    from nanovlm_ros.imaging import decode_compressed

    asked, tiles, window_correct = [], [], 0
    line = player.stdout.readline()
    if not line:
        print('The player did not start.', file=sys.stderr)
        return 1
    begin, period = int(line), period_ns(bag)
    segments = json.loads(TRUTH.read_text())['segments']
    for question, answer, arrived in ask_all(client, begin, period / 1e9, segments):
        right = is_right(question, answer.text, answer.json)
        window_correct += right and question['kind'] == 'window'
        asked.append((right, answer, (arrived - stamp_ns(answer)) / 1e9))
        print(f'\n    {"right" if right else "WRONG, expected " + str(question["expected"])}'
              f'  first token {answer.timings.first_token * 1000:.0f} ms,'
              f' answer {answer.timings.total * 1000:.0f} ms')
        source = bag.get((stamp_ns(answer) - begin) % period)
        if source is not None:
            tiles.append(Tile(decode_compressed(source.data), question['prompt'],
                              answer.text or answer.error_message, right))
        if node.poll() is not None:
            print(f'The node ended with exit code {node.returncode}.', file=sys.stderr)
            return 1
    live_hz = watch(client, begin, period)
    save_sheet(tiles, SHEET)
    print(f'\nThe frames with their answers are in {os.path.relpath(SHEET)}\n')
    result = report(asked, window_correct, live_hz)
    print(json.dumps(result))
    return int(result['correct'] < PASS * result['asked'])


def main() -> int:
    """Start the processes, run, and leave none behind."""
    import rclpy
    from rclpy.signals import SignalHandlerOptions

    from demo.client import Client
    from demo.player import images

    began, children = time.monotonic(), []
    for number in (signal.SIGINT, signal.SIGTERM):  # both end by way of `finally`
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    try:
        print('Starting the node (the first time it compiles the model) ...', flush=True)
        node = start('-m', 'nanovlm_ros.ros.node', '--ros-args', '--log-level', 'nanovlm:=warn',
                     *(word for name, value in PARAMETERS.items()
                       for word in ('-p', f'{name}:={value}')))
        children.append(node)
        bag, client = dict(images(BAG)), Client()
        while not client.wait_for_node(1.0):
            if node.poll() is not None or time.monotonic() - began > START_LIMIT:
                print('The node did not become active.', file=sys.stderr)
                return 1
        print(f'The node was active after {time.monotonic() - began:.1f} s.', flush=True)
        player = start('-m', 'demo.player', str(BAG), '--rounds', str(ROUNDS),
                       stdout=subprocess.PIPE, text=True)
        children.append(player)
        return run(client, node, player, bag)
    finally:
        for child in reversed(children):
            stop(child)
        rclpy.shutdown()


if __name__ == '__main__':
    sys.exit(main())
