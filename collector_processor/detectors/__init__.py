"""Sequential detectors, as pure functions: evidence that may be looked at after every pane, with a promised rate.

:mod:`.shiryaev_roberts` keeps evidence, :mod:`.dictionary` makes it from counts of cells, :mod:`.bounded` from sums of
bounded values, :mod:`.dependence` weakens it where rows are not independent, :mod:`.promise` says how much is enough.
"""
