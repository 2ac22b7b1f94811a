# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""What went wrong between this machine and the hub, as a sentence with the way out."""
from huggingface_hub.errors import (
    DisabledRepoError, GatedRepoError, HfHubHTTPError, RemoteEntryNotFoundError,
    RepositoryNotFoundError, RevisionNotFoundError)

from nanovlm_ros.types import ErrorCode, NanoVlmError

# A hub or a proxy that is busy or restarts: worth another try.
TRANSIENT = (408, 429, 500, 502, 503, 504)

LOG_IN = 'log in with `hf auth login`, or set HF_TOKEN to a token that may read it'


def status(error: Exception) -> int:
    """Return the HTTP status of an error; 0 where no answer came."""
    return error.response.status_code if isinstance(error, HfHubHTTPError) else 0


def hub_error(error: Exception, endpoint: str, name: str, revision: str) -> NanoVlmError:
    """Return the sentence for an error of huggingface_hub or of the HTTP library below it."""
    return NanoVlmError(ErrorCode.MODEL_ERROR, _sentence(error, endpoint, name, revision))


def _sentence(error: Exception, endpoint: str, name: str, revision: str) -> str:
    page, code = f'{endpoint}/{name}', status(error)
    if isinstance(error, GatedRepoError):  # before its base class, RepositoryNotFoundError
        return f'{name} is gated: ask for access on {page}, then {LOG_IN}.'
    if isinstance(error, RepositoryNotFoundError):
        return (f'The hub {endpoint} has no model {name!r} that you may read; check the spelling '
                f'on {page}, and if it is private, {LOG_IN}.')
    if isinstance(error, RevisionNotFoundError):
        return (f'{name} has no revision {revision!r}; use a branch, a tag or a commit of '
                f'{page}/commits/main.')
    if isinstance(error, DisabledRepoError):
        return f'{name} has been disabled by the hub {endpoint}; use another model.'
    if isinstance(error, RemoteEntryNotFoundError):
        return (f'The hub {endpoint} lists a file of {name} that it does not have '
                f'({error.response.url}); try again later, or use another revision.')
    if code in (401, 403):
        return f'The hub {endpoint} refuses to give {name} (HTTP {code}); {LOG_IN}.'
    if code in TRANSIENT:
        return (f'The hub {endpoint} is not able to serve {name} now (HTTP {code}); try again '
                'later. What is downloaded so far is kept.')
    if code:
        return (f'The hub {endpoint} answered HTTP {code} when asked for {name}; check '
                'HF_ENDPOINT and the network\'s proxy.')
    if isinstance(error, EOFError):
        return (f'The hub {endpoint} gives only a part of {name}: {error}, again and again. Try '
                'later; if this comes back, a proxy on the way cuts files.')
    return (f'The hub {endpoint} cannot be reached for {name} ({_reason(error)}). Check the '
            'network, its proxy and the clock, and start again (a download goes on where it '
            f'stopped); or download {name} on another machine and copy the folder here.')


def _reason(error: Exception) -> str:
    return f'{type(error).__name__}: {error}' if str(error) else type(error).__name__
