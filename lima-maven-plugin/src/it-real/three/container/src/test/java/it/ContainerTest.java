package it;

import static org.junit.jupiter.api.Assertions.assertEquals;

import org.junit.jupiter.api.Test;
import org.testcontainers.containers.GenericContainer;
import org.testcontainers.containers.startupcheck.OneShotStartupCheckStrategy;

class ContainerTest {
    @Test
    void aContainerOfAnImageMadeHereSpeaks() throws Exception {
        String tar = "tar -ch -C / bin/echo $(ldd /bin/echo | grep -o '/lib[^ ]*' | sort -u | sed 's,^/,,')";
        assertEquals(0, new ProcessBuilder("sh", "-c", tar + " | docker import - made-here").inheritIO().start().waitFor());
        try (GenericContainer<?> container = new GenericContainer<>("made-here")
                .withCommand("/bin/echo", "from", "a", "container")
                .withStartupCheckStrategy(new OneShotStartupCheckStrategy())) {
            container.start();
            assertEquals("from a container\n", container.getLogs());
        }
    }
}
