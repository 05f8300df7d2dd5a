;;; Memory faults that SBCL turns into conditions, and callbacks that fault, on the same threads;
;;; Lisp that is called out of callbacks, and calls back. A collection stops threads where they
;;; are, and finds the stack of none that is on a G: so there is none meanwhile, but where the
;;; callback has called out.
(sb-alien:load-shared-object (sb-ext:posix-getenv "GUEST"))
(defvar *rounds* (parse-integer (sb-ext:posix-getenv "ROUNDS")))

(defun check (holds code)
  (unless holds (sb-ext:exit :code code :abort t)))

(defmacro guest (name &rest arguments)
  `(sb-sys:without-gcing
     (sb-alien:alien-funcall
      (sb-alien:extern-alien
       ,name (function sb-alien:int ,@(mapcar (constantly 'sb-alien:int) arguments)))
      ,@arguments)))

(defun write-null ()
  (handler-case (progn (setf (sb-sys:sap-ref-8 (sb-sys:int-sap 8) 0) 1) nil)
    (sb-sys:memory-fault-error () t)))

(defun deeper (n) (+ 1 (deeper (+ n 1))))

(defun exhaust ()
  (handler-case (progn (deeper 0) nil)
    (storage-condition () t)))

;;; Called out of a callback, on the thread's own stack.
(declaim (ftype function call-out))
(sb-alien:define-alien-callable called sb-alien:void ((depth (* sb-alien:int)))
  (let ((left (sb-alien:deref depth)))
    (check (= left (length (loop repeat left collect (list left)))) 9)
    (check (write-null) 10)
    (if (zerop left)
        (check (exhaust) 11)
        (call-out (- left 1)))))

(defmacro guest-call-out (function argument)
  `(sb-alien:alien-funcall
    (sb-alien:extern-alien
     "guest_call_out"
     (function sb-alien:int sb-sys:system-area-pointer (* sb-alien:int) sb-alien:int))
    ,function ,argument 0))

(defun call-out (depth)
  (sb-alien:with-alien ((left sb-alien:int depth))
    (check (zerop (sb-sys:without-gcing
                    (guest-call-out
                     (sb-alien:alien-sap (sb-alien:alien-callable-function 'called))
                     (sb-alien:addr left))))
           12)))

;;; A collection while a thread waits in what its callback has called.
(defun collect-while-called-out ()
  (let* ((flag (sb-alien:make-alien sb-alien:int 1))
         (kept (list 1 2 3))
         (thread (sb-thread:make-thread
                  (lambda ()
                    (check (zerop (guest-call-out (sb-sys:foreign-symbol-sap "guest_wait") flag)) 13)
                    (length kept)))))
    (loop until (= (sb-alien:deref flag) 1) do (sb-thread:thread-yield))
    (sb-ext:gc :full t)
    (setf (sb-alien:deref flag) 2)
    (check (= (sb-thread:join-thread thread) 3) 14)))

(check (zerop (guest "guest_start")) 3)
(collect-while-called-out)

(defun mix ()
  (dotimes (round *rounds*)
    (check (write-null) 4)
    (check (zerop (guest "guest_mix" round)) 5)
    (when (zerop (mod round 1000))
      (check (exhaust) 7)
      (call-out 3)
      (sb-ext:gc))))

(defun mix-or-die () ; at once: a plain exit waits for the other threads
  (handler-bind ((error (lambda (what) (declare (ignore what)) (check nil 8)))) (mix)))

(let ((threads (loop repeat 4 collect (sb-thread:make-thread #'mix-or-die))))
  (mapc #'sb-thread:join-thread threads))
(mix-or-die)
(guest "guest_finish")
(sb-ext:exit :code 200 :abort t)
