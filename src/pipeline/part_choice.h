// `--part`: which part of a scan this process makes, as given or from the variables by which
// launchers number the processes they start.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <string>

#include "records/scan_record.h"

namespace cacheready {

// Value of an environment variable; null if it is not set.
using Environment = std::function<const char*(const char* name)>;

// "3/16", or "auto": the variables of a launcher
//   Open MPI     OMPI_COMM_WORLD_RANK, OMPI_COMM_WORLD_SIZE
//   torchrun     RANK, WORLD_SIZE
//   Slurm tasks  SLURM_PROCID, SLURM_NTASKS
//   Slurm array  SLURM_ARRAY_TASK_ID with _MIN, _MAX, _COUNT and, if set, _STEP
// A launcher counts if its first variable is set; one that started a single process splits nothing
// where another started more. Inside a Slurm job Open MPI and torchrun number the processes, and
// the variables of Slurm tasks are those of the script around them. Fails on anything malformed, on
// launchers that disagree, and if there is none.
ScanPart ChoosePart(const std::string& part, const Environment& environment);
ScanPart ChoosePart(const std::string& part);  // with the environment of this process

}  // namespace cacheready
