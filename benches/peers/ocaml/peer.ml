(* Measures C threads that call a function of OCaml's. *)
external measure : unit -> unit = "peer_measure"

let () =
  Callback.register "call" (fun () -> ());
  (* A thread makes the runtime ready for others. *)
  Thread.join (Thread.create (fun () -> ()) ());
  measure ()
