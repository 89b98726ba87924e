from lit_privq.fleet.module import Fleet

__all__ = ["Fleet"]
