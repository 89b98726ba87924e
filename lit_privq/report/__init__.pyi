from .command import build as build
