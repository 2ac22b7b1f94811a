# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""NVRTC, NVIDIA's compiler in a library, through ctypes.

TVM's sources include two headers of the CUDA C++ Core Libraries under NVRTC, which its wheel does
not bring; the few names that TVM takes from them are written here.
"""
import ctypes
from pathlib import Path
from typing import Sequence, Tuple

SUCCESS = 0  # nvrtcResult

_STDINT = '''
#pragma once
namespace cuda { namespace std {
typedef signed char int8_t;     typedef unsigned char uint8_t;
typedef short int16_t;          typedef unsigned short uint16_t;
typedef int int32_t;            typedef unsigned int uint32_t;
typedef long int64_t;           typedef unsigned long uint64_t;
} }
'''

_TYPE_TRAITS = '''
#pragma once
namespace cuda { namespace std {
template <bool v> struct bool_constant { static constexpr bool value = v; };
template <class T, class U> inline constexpr bool is_same_v = false;
template <class T> inline constexpr bool is_same_v<T, T> = true;
template <class T, class U> struct is_same : bool_constant<is_same_v<T, U>> {};
template <class T, class... U> inline constexpr bool is_one_of = (is_same_v<T, U> || ...);
template <class T> struct bare { typedef T type; };
template <class T> struct bare<const T> : bare<T> {};
template <class T> struct bare<volatile T> : bare<T> {};
template <class T> struct bare<const volatile T> : bare<T> {};
template <class T> struct is_floating_point
    : bool_constant<is_one_of<typename bare<T>::type, float, double>> {};
template <class T> struct is_integral
    : bool_constant<is_one_of<typename bare<T>::type, bool, char, signed char, unsigned char,
        wchar_t, char16_t, char32_t, short, unsigned short, int, unsigned, long, unsigned long,
        long long, unsigned long long>> {};
template <class T, bool number = is_integral<T>::value || is_floating_point<T>::value>
struct is_signed : bool_constant<(T(-1) < T(0))> {};
template <class T> struct is_signed<T, false> : bool_constant<false> {};
template <class T, bool number = is_integral<T>::value>
struct is_unsigned : bool_constant<(T(0) < T(-1))> {};
template <class T> struct is_unsigned<T, false> : bool_constant<false> {};
template <bool yes, class T = void> struct enable_if {};
template <class T> struct enable_if<true, T> { typedef T type; };
template <bool yes, class T, class U> struct conditional { typedef T type; };
template <class T, class U> struct conditional<false, T, U> { typedef U type; };
} }
'''

HEADERS = {'cuda/std/cstdint': _STDINT, 'cuda/std/type_traits': _TYPE_TRAITS}


class Nvrtc:
    """A loaded libnvrtc. Its C interface is that of nvrtc.h, which every release since 11.1 has."""

    def __init__(self, library: Path):
        """Raise OSError if the library cannot be loaded."""
        # NVRTC opens its other half by name alone, and finds it if it is here already.
        self._builtins = [ctypes.CDLL(str(path)) for path in sorted(
            library.parent.glob('libnvrtc-builtins.so.*'))[:1]]
        self._c = ctypes.CDLL(str(library))
        self._c.nvrtcGetErrorString.restype = ctypes.c_char_p

    @property
    def version(self) -> str:
        """Release of CUDA that the library is of, such as '13.0'."""
        major, minor = ctypes.c_int(), ctypes.c_int()
        self._c.nvrtcVersion(ctypes.byref(major), ctypes.byref(minor))
        return f'{major.value}.{minor.value}'

    def compile(self, source: str, options: Sequence[str]) -> Tuple[bytes, str]:
        """Return (cubin, log); the cubin is empty where the source is at fault."""
        program = ctypes.c_void_p()
        self._check(self._c.nvrtcCreateProgram(
            ctypes.byref(program), source.encode(), b'kernels.cu', len(HEADERS),
            _strings(HEADERS.values()), _strings(HEADERS)))
        try:
            result = self._c.nvrtcCompileProgram(program, len(options), _strings(options))
            log = self._read(program, 'ProgramLog').rstrip(b'\0').decode(errors='replace')
            if result != SUCCESS:
                return b'', log.strip() or self._c.nvrtcGetErrorString(result).decode()
            return self._read(program, 'CUBIN'), log
        finally:
            self._c.nvrtcDestroyProgram(ctypes.byref(program))

    def _read(self, program, what: str) -> bytes:
        size = ctypes.c_size_t()
        self._check(getattr(self._c, f'nvrtcGet{what}Size')(program, ctypes.byref(size)))
        buffer = ctypes.create_string_buffer(size.value)
        self._check(getattr(self._c, f'nvrtcGet{what}')(program, buffer))
        return buffer.raw

    def _check(self, result: int) -> None:
        if result != SUCCESS:
            raise OSError(f'NVRTC: {self._c.nvrtcGetErrorString(result).decode()}')


def _strings(texts) -> ctypes.Array:
    """Return a C array of strings."""
    encoded = [text.encode() for text in texts]
    return (ctypes.c_char_p * len(encoded))(*encoded)
