// Strong ids of what a worker owns. An id is good within its worker only.
#pragma once

#include "dwspool/base/slot_map.h"

namespace dwspool {

using ClientId = Id<struct ClientTag>;
using BackendId = Id<struct BackendTag>;

}  // namespace dwspool
