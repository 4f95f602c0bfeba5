from collector_processor.detectors.rows import ADWIN as ADWIN
from collector_processor.detectors.rows import DDM as DDM
from collector_processor.detectors.rows import EDDM as EDDM
from collector_processor.detectors.rows import HDDMA as HDDMA
from collector_processor.detectors.rows import PageHinkley as PageHinkley
