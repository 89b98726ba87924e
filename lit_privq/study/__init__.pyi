from .study_file import Study as Study
from .study_file import read_study as read_study
