/* The guest's functions for OCaml. */
#include "guest.h"
#include <caml/mlvalues.h>

value ocaml_start(value unit) { (void)unit; return Val_int(guest_start()); }
value ocaml_mix(value round) { return Val_int(guest_mix(Int_val(round))); }
value ocaml_finish(value unit) { (void)unit; return Val_int(guest_finish()); }
