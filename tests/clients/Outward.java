/**
 * Java that is called out of callbacks, on Java's threads and on threads that only C knows: null
 * checks that are faults, stack overflows, collections, and calls back from there.
 */
public class Outward {
    static native int callOut(int depth);
    static native int callOnG();
    static native int callOutOfC(int rounds);

    static final ThreadLocal<Integer> calls = ThreadLocal.withInitial(() -> 0);

    /** 0 if all is well. */
    static int called(int depth) {
        calls.set(calls.get() + 1);
        Main none = null;
        try {
            none.field = depth;
            return 1;
        } catch (NullPointerException expected) {
        }
        if (calls.get() % 100 == 1) {
            try {
                Main.deeper(0);
                return 2;
            } catch (StackOverflowError expected) {
                System.gc();
            }
        }
        return depth == 0 ? 0 : callOut(depth - 1);
    }

    static void run(int rounds) {
        for (int round = 0; round < rounds; round++) {
            Main.check(callOut(round % 4) == 0, "a call out");
            Main.check(Main.mix(round) == 0, "callbacks");
        }
        // Java compares the stack pointer with the bounds of the thread's own stack.
        try {
            callOnG();
            Main.check(false, "Java ran on a G");
        } catch (StackOverflowError expected) {
        }
    }

    public static void main(String[] arguments) throws Exception {
        System.load(System.getenv("GUEST"));
        int rounds = Integer.parseInt(System.getenv("ROUNDS"));
        Main.check(Main.start() == 0, "needm starts");
        Thread[] threads = new Thread[2];
        for (int i = 0; i < threads.length; i++) {
            threads[i] = new Thread(() -> run(rounds));
            threads[i].start();
        }
        Main.check(callOutOfC(rounds) == 0, "threads of C");
        for (Thread thread : threads) {
            thread.join();
        }
        Main.finish();
        Runtime.getRuntime().halt(200);
    }
}
