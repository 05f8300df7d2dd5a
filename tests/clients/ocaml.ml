(* Stack overflows that OCaml turns into exceptions, and callbacks that fault, on one thread. *)
external start : unit -> int = "ocaml_start"
external mix : int -> int = "ocaml_mix"
external finish : unit -> int = "ocaml_finish"

let rec deeper n = 1 + deeper (n + 1)
let check holds code = if not holds then exit code

let () =
  let rounds = int_of_string (Sys.getenv "ROUNDS") in
  check (start () = 0) 3;
  for round = 1 to rounds do
    check (mix round = 0) 4;
    if round mod 100 = 0 then
      check (match deeper 0 with exception Stack_overflow -> true | _ -> false) 6;
    if round mod 1000 = 0 then Gc.full_major ()
  done;
  ignore (finish ());
  exit 200
