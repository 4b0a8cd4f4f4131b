package dev.limasandbox.testbed;

/** Ends limactl with one {@code level=fatal} line and exit code 1, which is all that Lima ever does with an error. */
final class Fatal extends RuntimeException {
    private static final long serialVersionUID = 1;

    Fatal(String message) {
        super(message);
    }
}
