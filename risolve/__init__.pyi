from risolve.calibrating import calibrate as calibrate
from risolve.door import FoundSources as FoundSources
from risolve.door import PlaceBound as PlaceBound
from risolve.door import bound as bound
from risolve.door import estimator_names as estimator_names
from risolve.door import locate as locate
from risolve.files.calibrated_array import CalibratedArray as CalibratedArray
from risolve.files.calibrated_arrays import read_array as read_array
from risolve.files.calibrated_arrays import write_array as write_array
from risolve.files.located_sources import LocatedSources as LocatedSources
from risolve.files.measurements import read_measurements as read_measurements
from risolve.files.measurements import write_measurements as write_measurements
from risolve.files.model import Model as Model
from risolve.files.model import load_model as load_model
from risolve.files.shipped import example as example
from risolve.physics.array import Array as Array
from risolve.physics.array import circular as circular
from risolve.physics.array import linear as linear
from risolve.physics.array import planar as planar
from risolve.physics.bands import bands as bands
from risolve.physics.observation import Observation as Observation
from risolve.pictures.array import plot_array as plot_array

PUBLIC: dict[str, str]
