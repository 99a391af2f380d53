import { openFolderStore } from '../../../src/artifacts/stores/folder.ts';
import { openVolumeStore } from '../../../src/artifacts/stores/volume.ts';
import { temporaryFolder } from '../../support/folder.ts';
import { storeContract } from './contract.ts';

storeContract('the volume', async () => openVolumeStore(await temporaryFolder(), 0));
storeContract('another folder', async () => openFolderStore(await temporaryFolder()));
