// wasi:keyvalue/store under the label `kit`, passed on.
#define STORE "kit"
#include "forward.h"
