#!/bin/bash
# Installs what tests/languages and tests/install run: compilers and interpreters from Debian (as root), NumPy and pytest
# into target/languages/venv, koffi into examples/javascript/node_modules.
. "$(dirname "$0")/../isa/common.sh"

need gcc:gcc g++:g++ make:make strip:binutils pkg-config:pkg-config cmake:cmake luajit:luajit ruby:ruby gfortran:gfortran \
  go:golang-go python3:python3 node:nodejs npm:npm abidw:abigail-tools doxygen:doxygen
python3 -c 'import ensurepip' 2> /dev/null || need no-venv:python3-venv

venv=$root/target/languages/venv
[ -x "$venv/bin/python" ] || python3 -m venv "$venv"
"$venv/bin/python" -c 'import numpy, pytest' 2> /dev/null || "$venv/bin/pip" install --quiet numpy pytest mypy
[ -d examples/javascript/node_modules/koffi ] ||
  npm install --prefix examples/javascript --no-package-lock --no-audit --no-fund --loglevel error
