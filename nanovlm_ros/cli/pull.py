# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Download a model of the hub, so that `--model NAME` starts without a network."""


def add_arguments(parser) -> None:
    """Add the name and the revision."""
    parser.add_argument('name', metavar='NAME', help="'owner/name' of a model on the hub")
    parser.add_argument('--revision', default='',
                        help='branch, tag or commit (default: the branch main)')


def run(arguments) -> int:
    """Download the newest files of the revision, and say where they are."""
    from nanovlm_ros.cli.model_arguments import Progress
    from nanovlm_ros.models.hub import fetch_model
    from nanovlm_ros.models.hub_files import outside_tower

    with Progress() as progress:
        folder = fetch_model(arguments.name, arguments.revision, progress, update=True)
        name = outside_tower(folder)
        tower = fetch_model(name, '', progress, vision_tower=True, update=True) if name else None
    print(f'{arguments.name} is in {folder} (commit {folder.name})')
    if tower:
        print(f'its vision tower {name} is in {tower} (commit {tower.name})')
    if any(path.suffix == '.bin' for part in (folder, tower) if part for path in part.iterdir()):
        print('Some weights are pickles (.bin), which are read only with trust_pickle.')
    return 0
