/** Null checks that the JVM makes by faults, and callbacks that fault, on the same threads. */
public class Main {
    static native int start();
    static native int mix(int round);
    static native int finish();

    int field;

    static int deeper(int depth) {
        return deeper(depth + 1) + 1;
    }

    static void check(boolean holds, String what) {
        if (!holds) {
            System.err.println("check failed: " + what);
            Runtime.getRuntime().halt(1);
        }
    }

    static void run(int rounds) {
        Main none = null;
        int caught = 0;
        for (int round = 0; round < rounds; round++) {
            try {
                none.field = round;
            } catch (NullPointerException expected) {
                caught++;
            }
            check(mix(round) == 0, "callbacks");
            if (round % 1000 == 0) {
                try {
                    deeper(0);
                    check(false, "a stack overflow");
                } catch (StackOverflowError expected) {
                    System.gc();
                }
            }
        }
        check(caught == rounds, "each null check");
    }

    public static void main(String[] arguments) throws Exception {
        System.load(System.getenv("GUEST"));
        int rounds = Integer.parseInt(System.getenv("ROUNDS"));
        check(start() == 0, "needm starts");
        Thread[] threads = new Thread[4];
        for (int i = 0; i < threads.length; i++) {
            threads[i] = new Thread(() -> run(rounds));
            threads[i].start();
        }
        for (Thread thread : threads) {
            thread.join();
        }
        finish();
        Runtime.getRuntime().halt(200);
    }
}
