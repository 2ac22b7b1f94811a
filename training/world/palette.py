# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Names of the world: colours (RGB 0..255), kinds of things, words on signs."""

from __future__ import annotations

COLOURS = {
    'red': (205, 28, 35), 'blue': (30, 75, 205), 'green': (25, 150, 60), 'yellow': (240, 210, 25),
    'orange': (245, 125, 15), 'purple': (130, 45, 170), 'white': (240, 240, 240),
    'black': (26, 26, 28), 'brown': (140, 92, 52), 'gray': (128, 130, 135),
}
BOX_COLOURS = ('red', 'blue', 'green', 'yellow', 'orange', 'purple', 'white', 'black', 'brown')
BALL_COLOURS = ('red', 'blue', 'green', 'yellow', 'orange', 'purple', 'white', 'black')
SHIRT_COLOURS = BALL_COLOURS
DOOR_COLOURS = ('brown', 'gray', 'blue', 'green', 'white', 'red')
# Background and text of a sign, by the colour that people would call it.
SIGN_COLOURS = {
    'green': ((10, 110, 58), (250, 250, 250)), 'blue': ((20, 65, 180), (250, 250, 250)),
    'red': ((190, 22, 28), (250, 250, 250)), 'yellow': ((246, 208, 22), (18, 18, 20)),
    'white': ((246, 246, 246), (20, 20, 26)), 'orange': ((246, 132, 20), (18, 18, 20)),
    'black': ((24, 24, 26), (246, 246, 246)),
}
KINDS = ('box', 'ball', 'cone', 'person')
PLURAL = {'box': 'boxes', 'ball': 'balls', 'cone': 'cones', 'person': 'people'}
WALL_KINDS = ('window', 'picture', 'shelf')
COLUMNS = ('left', 'center', 'right')

SIGN_WORDS = tuple('''
    STOP EXIT DANGER CAUTION WARNING OPEN CLOSED PUSH PULL OFFICE LAB KITCHEN LOBBY STORAGE LIBRARY
    STAIRS ELEVATOR PARKING LOADING RESTROOM RECEPTION SLOW YIELD QUIET PRIVATE MEETING SERVER
    WORKSHOP CAFE GARAGE CHARGING DOCK ENTRANCE HELP INFO TOILET SHOP SALE FIRE STATION HOME
    '''.split())
NUMBERED_WORDS = tuple('''
    EXIT ROOM GATE FLOOR DOCK BAY AISLE LAB PLATFORM LEVEL ZONE HALL SPEED DOOR RACK UNIT LINE LANE
    '''.split())
SIGN_PHRASES = (
    'WET FLOOR', 'NO ENTRY', 'KEEP OUT', 'HIGH VOLTAGE', 'FIRE EXIT', 'KEEP LEFT', 'KEEP RIGHT',
    'STAFF ONLY', 'HARD HAT AREA', 'NO SMOKING', 'FIRST AID', 'ONE WAY', 'ROAD WORK',
    'DO NOT ENTER', 'WATCH YOUR STEP', 'ROBOT LANE', 'PLEASE WAIT', 'NO PARKING',
    'AUTHORIZED ONLY', 'MEETING ROOM', 'CHARGING STATION', 'EMERGENCY EXIT', 'OUT OF ORDER',
)
PLACES = ('HOOVER DAM', 'AIRPORT', 'CITY CENTER', 'HARBOR', 'STATION', 'MUSEUM', 'HOSPITAL',
          'BEACH')
FRACTIONS = ('', '1/2', '1/4', '3/4')
