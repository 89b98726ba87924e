from .command import main as main
from .command import run as run
from .options import Audit as Audit
