package dev.limasandbox.testbed;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;

/** Offline snapshots of one instance: of its disk by qemu-img, of its guest's files by a copy under the snapshot's ID. */
final class Snapshots {
    private final Path disk;
    private final Path files;
    private final Path kept;

    Snapshots(Instance instance) {
        disk = instance.file("disk");
        files = Guest.stateOf(instance.name).resolve("disk");
        kept = Guest.stateOf(instance.name).resolve("snapshots");
    }

    /**
     * With a 9p mount nothing is saved, nothing is deleted and nothing is said; applying a tag that is therefore not
     * there leaves the guest paused. Exit 0 all the same.
     */
    static void ofRunning(Instance instance, String verb) {
        if (verb.equals("apply")) {
            ProcessHandle.of(instance.driverPid())
                    .ifPresent(guest -> Stream.concat(Stream.of(guest), guest.descendants())
                            .forEach(process -> Sh.tryRun("kill", "-STOP", String.valueOf(process.pid()))));
        }
    }

    /** An existing tag is taken once more: there are then two of that name. */
    void create(String tag) {
        require(Sh.tryRun("qemu-img", "snapshot", "-c", tag, disk.toString()));
        Path copy = kept.resolve(newestId(tag));
        if (Files.exists(files)) {
            Sh.copyTree(files, copy);
        } else {
            Sh.makeDirectories(copy);
        }
    }

    void apply(String tag) {
        String id = oldestId(tag);
        require(Sh.tryRun("qemu-img", "snapshot", "-a", tag, disk.toString()));
        Sh.remove(files);
        Sh.copyTree(kept.resolve(id), files);
    }

    void delete(String tag) {
        String id = oldestId(tag);
        require(Sh.tryRun("qemu-img", "snapshot", "-d", tag, disk.toString()));
        Sh.remove(kept.resolve(id));
    }

    /** With {@code --quiet} only tags, cut at the first blank. */
    void list(boolean quiet) {
        Sh.Result table = Sh.tryRun("qemu-img", "snapshot", "-l", disk.toString());
        require(table);
        if (quiet) {
            rows(table).forEach(row -> System.out.println(row.get(1)));
        } else {
            System.out.print(table.output());
        }
    }

    private String oldestId(String tag) {
        return ids(tag).findFirst().orElse("none");
    }

    private String newestId(String tag) {
        return ids(tag).reduce((first, second) -> second).orElseThrow(() -> new Fatal(""));
    }

    private Stream<String> ids(String tag) {
        return rows(Sh.tryRun("qemu-img", "snapshot", "-l", disk.toString()))
                .filter(row -> row.get(1).equals(tag.split(" ", 2)[0]))
                .map(row -> row.get(0));
    }

    private static Stream<List<String>> rows(Sh.Result table) {
        return table.output()
                .lines()
                .map(line -> List.of(line.strip().split("\\s+")))
                .filter(row -> row.size() > 2 && row.get(0).matches("\\d+"));
    }

    /** A failure has exit code 1 and no words of its own. */
    private static void require(Sh.Result result) {
        if (result.code() != 0) {
            throw new Fatal("");
        }
    }
}
