from .labels import place_labels as place_labels
from .style import Look as Look
from .style import looks as looks
