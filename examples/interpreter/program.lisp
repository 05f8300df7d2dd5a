; Lists are made and dropped on four threads of C, while collections look for what is still in use.

(define range (lambda (from to)
  (if (< from to) (cons from (range (+ from 1) to)) ())))

(define sum (lambda (list)
  (if (null? list) 0 (+ (car list) (sum (cdr list))))))

(define filter (lambda (keep? list)
  (if (null? list) ()
    (if (keep? (car list))
      (cons (car list) (filter keep? (cdr list)))
      (filter keep? (cdr list))))))

; A number is true, and so is 0: only () is false.
(define divides (lambda (by n) (= 0 (mod n by))))
(define sieve (lambda (list)
  (if (null? list) ()
    (cons (car list)
      (sieve (filter (lambda (n) (if (divides (car list) n) () 1)) (cdr list)))))))
(define primes (lambda (n) (sieve (range 2 n))))

(define expect (lambda (got want)
  (if (= got want) (print got) (wrong got 'is-not want))))

(print (primes 50))
(expect (sum (primes 200)) 4227)

; A function of the language, called by C: on 4 threads, 500 times each.
(define calls 500)
(define work (lambda (thread call) (sum (primes 100))))
(expect (threads 4 calls work) (* (* 4 calls) 1060))

; An old pair refers to a young list, and nothing else does: the write barrier has noted it.
(define keep ((lambda (kept)
  (lambda (list) (if (null? list) kept (set! kept list)))) ()))
(expect (threads 4 20 work) 84800)
(keep (range 0 50))
(expect (threads 4 20 work) 84800)
(expect (sum (keep ())) 1225)

; Recursion without an end is an error of the language, which goes on.
(define deep (lambda (n) (+ 1 (deep n))))
(expect (try (deep 0) -1) -1)

; An error on a thread of C comes back to the caller.
(expect (try (threads 2 1 (lambda (thread call) (car call))) -2) -2)
